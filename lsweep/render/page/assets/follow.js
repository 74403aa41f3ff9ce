// Asks the server how far the sweep is, and for what is new.
const follow = (() => {
  async function ask(address) {
    const answer = await fetch(address, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return answer.json();
  }

  // `version`: of what is shown; `renew` is called where there is another one, and returns its version.
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
        if (!(error instanceof TypeError)) console.error(error); // a TypeError: nobody listens there
        strip.lost();
      }
      busy = false;
      next = setTimeout(round, Math.max(1000 * pause, 4 * (performance.now() - began))); // a slow way is not crowded
    }

    strip.show(first);
    document.addEventListener("visibilitychange", round);
    round();
  }

  return { ask, begin };
})();
