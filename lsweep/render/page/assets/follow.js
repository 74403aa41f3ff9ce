// Polls the server for the progress of the sweep and for new data.
const follow = (() => {
  async function ask(address) {
    const answer = await fetch(address, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return answer.json();
  }

  // `version`: version of the data shown; `renew` is called if it has changed, and returns the new version.
  function begin({ version, pause, state: first }, renew) {
    let busy = false;
    let next = 0;

    async function round() {
      if (busy || document.hidden) return;
      busy = true;
      clearTimeout(next);
      const began = performance.now();
      try {
        const state = await ask("state");
        strip.show(state);
        if (state.version && state.version !== version) version = await renew();
      } catch (error) {
        if (!(error instanceof TypeError)) console.error(error); // a TypeError means that the server does not answer
        strip.lost();
      }
      busy = false;
      next = setTimeout(round, Math.max(1000 * pause, 4 * (performance.now() - began))); // do not overload a slow connection
    }

    strip.show(first);
    document.addEventListener("visibilitychange", round);
    round();
  }

  return { ask, begin };
})();
