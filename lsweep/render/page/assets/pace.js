// How finely surfaces are drawn while they move: as finely as the machine can at a pleasant rate. At rest, and on
// any GPU soon in motion too, more pixels are drawn than shown, which smooths edges and lines.
const pace = (() => {
  // Drawn pixels along a side for each of the canvas's, and the most points along a side of the surface.
  const LOOKS = [
    { detail: 0.5, facets: 90 },
    { detail: 0.75, facets: 130 },
    { detail: 1, facets: 260 },
    { detail: 2, facets: Infinity },
  ];
  const [FAST, SLOW] = [22, 40]; // milliseconds between frames
  const TRIAL = 12; // frames of one speed before it is changed
  let level = 2;
  let ceiling = LOOKS.length - 1; // what was too slow once is not tried again
  let last = 0;
  let gaps = [];

  // Told of every frame in motion.
  function tick(now) {
    const gap = now - last;
    last = now;
    if (gap > 1000) return void (gaps = []); // the motion has just begun
    gaps.push(gap);
    const slow = gaps.length >= 3 && gaps.slice(-3).every((one) => one > SLOW);
    if (slow && level > 0) [level, ceiling, gaps] = [level - 1, level - 1, []];
    if (gaps.length < TRIAL) return;
    const mean = gaps.reduce((sum, one) => sum + one, 0) / gaps.length;
    gaps = [];
    if (mean < FAST && level < ceiling) level += 1;
  }

  // Milliseconds without a movement after which it is over: more than a slow frame takes.
  const rest = () => 160 + 2 * (gaps[gaps.length - 1] ?? 0);

  const look = (moving) => LOOKS[moving ? level : LOOKS.length - 1];

  return { tick, rest, look };
})();
