// What is chosen, and the page's address that says it.

const $ = (name) => document.getElementById(`explore-${name}`);
const section = document.getElementById("explore");
const MARK = "#explore?";
let data, state;

// What is chosen at first: the gradient norm of the first run's last iteration, all of its units.
function initialState() {
  const run = data.runs[0];
  return {
    quantity: data.quantities[0].column, run: run.key, stage: null, from: null, to: null,
    iteration: null, unit: null, sort: "unit", filter: "",
  };
}

function chosenRun() {
  return data.runs.find((run) => run.key === state.run) ?? data.runs[0];
}

function firstUnit(run) {
  return run.units.unit[0];
}

function lastUnit(run) {
  return run.units.unit[run.units.unit.length - 1];
}

function iterationOf(run) {
  return state.iteration === null ? run.iterations.length - 1 : nearest(run.iterations, state.iteration);
}

function quantityNumber() {
  return Math.max(0, data.quantities.findIndex((one) => one.column === state.quantity));
}

// A stage as [number, first unit, last unit].
function stagesOf(run) {
  const stages = new Map();
  run.units.unit.forEach((unit, index) => {
    const stage = run.units.stage[index];
    if (stage === null) return;
    const [first] = stages.get(stage) ?? [unit];
    stages.set(stage, [first, unit]);
  });
  return [...stages].map(([stage, [first, last]]) => [stage, first, last]);
}

// The span of units that is shown: the chosen one, within the chosen stage.
function spanOf(run) {
  const [, first, last] = stagesOf(run).find(([stage]) => stage === state.stage) ?? [null, firstUnit(run), lastUnit(run)];
  const from = Math.max(first, state.from ?? firstUnit(run));
  const to = Math.min(last, state.to ?? lastUnit(run));
  return from <= to ? [from, to] : [first, last];
}

// The address: a link to it restores the view. What is as at first is left out.
function readLink() {
  const words = new URLSearchParams(location.hash.startsWith(MARK) ? location.hash.slice(MARK.length) : "");
  const chosen = initialState();
  for (const name of ["quantity", "run", "sort", "filter"]) {
    if (words.has(name)) chosen[name] = words.get(name);
  }
  for (const name of ["stage", "from", "to", "iteration", "unit"]) {
    if (/^\d+$/.test(words.get(name) ?? "")) chosen[name] = Number(words.get(name));
  }
  // What names nothing is as if it were not there.
  const run = data.runs.find((one) => one.key === chosen.run) ?? data.runs[0];
  chosen.run = run.key;
  if (!data.quantities.some((one) => one.column === chosen.quantity)) chosen.quantity = data.quantities[0].column;
  if (!stagesOf(run).some(([stage]) => stage === chosen.stage)) chosen.stage = null;
  if (!run.units.unit.includes(chosen.unit)) chosen.unit = null;
  const columns = [...TOLD, ...data.quantities.map((one) => one.column)];
  if (!columns.includes(chosen.sort.replace("-", ""))) chosen.sort = "unit";
  return chosen;
}

function writeLink() {
  const first = initialState();
  const changed = Object.entries(state).filter(([name, value]) => value !== first[name] && value !== null);
  const words = new URLSearchParams(changed).toString();
  if (words || location.hash.startsWith(MARK)) history.replaceState(null, "", words ? MARK + words : "#explore");
}

