// A page that follows a running sweep loads new data.
follow.begin(data.live, async () => {
  const fresh = await follow.ask("data");
  if (fresh.sweeps) page.renew(fresh);
  return fresh.version;
});
