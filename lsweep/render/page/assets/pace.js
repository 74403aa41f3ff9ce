// The resolution of moving surfaces: as fine as the machine allows at a smooth frame rate. At rest, and with a GPU soon
// in motion too, more pixels are drawn than shown, which smooths edges and lines.
const pace = (() => {
  // Drawn pixels per canvas pixel along a side, and the maximum number of points along a side of the surface.
  const LOOKS = [
    { detail: 0.5, facets: 90 },
    { detail: 0.75, facets: 130 },
    { detail: 1, facets: 260 },
    { detail: 2, facets: Infinity },
  ];
  const [FAST, SLOW] = [22, 40]; // milliseconds between frames
  const TRIAL = 12; // frames at one level before it is raised
  let level = 2;
  let ceiling = LOOKS.length - 1; // a level that was too slow once is not tried again
  let last = 0;
  let gaps = [];

  // Called at every frame in motion.
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

  // Milliseconds without movement after which the motion is over; longer than a slow frame.
  const rest = () => 160 + 2 * (gaps[gaps.length - 1] ?? 0);

  const look = (moving) => LOOKS[moving ? level : LOOKS.length - 1];

  return { tick, rest, look };
})();
