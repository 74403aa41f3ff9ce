// Nothing can be shown yet: as soon as something can, the page is another one.
follow.begin(JSON.parse(document.getElementById("data").textContent), () => location.reload());
