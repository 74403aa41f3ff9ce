// Nothing can be shown yet. As soon as the data can be shown, the page is reloaded.
follow.begin(JSON.parse(document.getElementById("data").textContent), () => location.reload());
