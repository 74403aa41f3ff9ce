// The strip above a page that follows a running sweep: its progress as a bar and as text.
const strip = (() => {
  const KINDS = ["done", "settled", "failed"];
  const make = (tag, className, ...within) => {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...within);
    return made;
  };
  const phase = make("span", "phase");
  phase.setAttribute("role", "status");
  const percent = make("span", "percent");
  const parts = KINDS.map((kind) => make("span", kind));
  const gauge = make("div", "gauge", ...parts);
  gauge.setAttribute("role", "progressbar");
  gauge.setAttribute("aria-label", "Progress of the sweep");
  const facts = make("ul", "facts");
  const note = make("span", "note-of-phase");
  const root = make("section", "strip", phase, percent, gauge, facts, note);
  root.setAttribute("aria-label", "Sweep");
  const name = document.title;
  let shown = null;

  const write = (element, words) => element.textContent === words || (element.textContent = words);

  // `state`: see lsweep/watch/state.py.
  function show(state) {
    shown = state;
    root.dataset.phase = state.phase;
    write(phase, state.phase);
    write(percent, state.percent === null ? "" : `${state.percent.toFixed(1)} %`);
    KINDS.forEach((kind, k) => (parts[k].style.width = `${100 * (state.shares[kind] ?? 0)}%`));
    gauge.hidden = state.percent === null;
    if (state.percent !== null) gauge.setAttribute("aria-valuenow", state.percent);
    facts.replaceChildren(...state.facts.map((fact) => make("li", "", fact)));
    write(note, state.note);
    document.title = state.percent === null ? name : `${state.percent.toFixed(1)} % · ${name}`;
  }

  // The server does not answer.
  function lost() {
    root.dataset.phase = "lost";
    write(phase, "lost");
    write(note, "lsweep watch does not answer; showing the last known state");
  }

  document.body.prepend(root);
  return { show, lost, state: () => shown };
})();
