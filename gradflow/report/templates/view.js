// The view's controls, and how it starts.

function choose(changes) {
  state = { ...state, ...changes };
  writeLink();
  show();
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, text]) => element("option", text, { value: key })));
  select.value = value ?? "";
}

function showControls(run) {
  $("quantity").value = data.quantities[quantityNumber()].column;
  $("run").value = run.key;
  const stages = stagesOf(run).map(([stage, first, last]) => [stage, `${stage} (units ${first} to ${last})`]);
  fill($("stage"), [["", "all"], ...stages], state.stage);
  const [from, to] = spanOf(run);
  for (const [name, value] of [["from", from], ["to", to]]) {
    $(name).min = firstUnit(run);
    $(name).max = lastUnit(run);
    $(name).value = value;
  }
  const at = iterationOf(run);
  const iteration = run.iterations[at].toLocaleString("en");
  $("iteration").max = run.iterations.length - 1;
  $("iteration").value = at;
  $("iteration").setAttribute("aria-valuetext", `iteration ${iteration}`);
  $("iteration-value").textContent = iteration;
  $("over-time").hidden = run.iterations.length < 2;
  $("thinned").hidden = run.measured === run.iterations.length;
  $("thinned").textContent =
    `${run.iterations.length} of ${run.measured} measured iterations are in this page, so that it stays small.`;
}

function show() {
  const run = chosenRun();
  showControls(run);
  showLegend(run);
  showUnit(run);
  showTable(run);
  showCharts(run);
}

// The pointer over a chart shows the unit's numbers beside it; a click keeps unit and iteration.
function pointed(event, where) {
  const [point] = event.points;
  const surface = where === $("surface");
  const run = surface ? chosenRun() : data.runs[point.curveNumber];
  const unit = surface ? point.y : point.x;
  const iteration = surface ? nearest(run.iterations, point.x) : iterationOf(run);
  return { run, unit, iteration };
}

function listen() {
  for (const chart of [$("surface"), $("depth")]) {
    if (!chart.on || chart.dataset.listening) continue;
    chart.dataset.listening = "yes";
    chart.on("plotly_hover", (event) => {
      const { run, unit, iteration } = pointed(event, chart);
      $("tip").replaceChildren(...describeUnit(run, run.units.unit.indexOf(unit), iteration));
      $("tip").hidden = false;
      placeTip(event.event);
    });
    chart.on("plotly_unhover", () => { $("tip").hidden = true; });
    chart.on("plotly_click", (event) => {
      const { run, unit, iteration } = pointed(event, chart);
      choose({ run: run.key, unit, ...(chart === $("surface") ? { iteration: run.iterations[iteration] } : {}) });
    });
    chart.on("plotly_doubleclick", () => choose({ from: null, to: null, stage: null }));
  }
  if ($("depth").dataset.zooming) return;
  $("depth").dataset.zooming = "yes";
  $("depth").on("plotly_relayout", (change) => {
    const [low, high] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (low !== undefined) choose({ from: Math.max(0, Math.ceil(low)), to: Math.max(0, Math.floor(high)) });
  });
}

function placeTip(pointer) {
  const box = $("tip").getBoundingClientRect();
  const left = pointer.clientX + 16 + box.width > innerWidth ? pointer.clientX - box.width - 16 : pointer.clientX + 16;
  $("tip").style.left = `${Math.max(8, left)}px`;
  $("tip").style.top = `${Math.max(8, Math.min(pointer.clientY, innerHeight - box.height - 8))}px`;
}

function number(text) {
  return /^\d+$/.test(text) ? Number(text) : null;
}

function connect() {
  fill($("quantity"), data.quantities.map((one) => [one.column, one.title]), state.quantity);
  fill($("run"), data.runs.map((run) => [run.key, run.label]), state.run);
  showMeanings($("meanings"), data);
  makeHeads($("heads"), data, (column) => choose({ sort: state.sort === column ? `-${column}` : column }));
  $("quantity").addEventListener("change", () => choose({ quantity: $("quantity").value }));
  $("run").addEventListener("change", () => choose({ run: $("run").value, stage: null, from: null, to: null, unit: null }));
  $("stage").addEventListener("change", () => choose({ stage: number($("stage").value), from: null, to: null }));
  for (const name of ["from", "to"]) {
    $(name).addEventListener("change", () => choose({ [name]: number($(name).value) }));
  }
  $("iteration").addEventListener("input", () => choose({ iteration: chosenRun().iterations[$("iteration").value] }));
  $("filter").addEventListener("input", () => choose({ filter: $("filter").value }));
  $("rows").addEventListener("keydown", moveAmongRows);
  $("reset").addEventListener("click", () => choose(initialState()));
  addEventListener("hashchange", () => { if (location.hash.startsWith(MARK)) restore(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  addEventListener("scroll", () => { $("tip").hidden = true; }, { passive: true });
}

function restore() {
  state = readLink();
  show();
  if (location.hash.startsWith(MARK)) section.scrollIntoView();
}

// The library waits, packed, until its charts come near: the page is read before it is explored.
async function loadLibrary() {
  const text = new TextDecoder().decode(await unpack(document.getElementById("explore-library").textContent));
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
}

function loadWhenNear() {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    plotlyLoading = loadLibrary();
    showCharts(chosenRun());
  }, { rootMargin: "800px" });
  watch.observe($("charts"));
}

async function start() {
  for (const shown of document.querySelectorAll("[data-needs-script]")) shown.hidden = false;
  if (!("DecompressionStream" in window)) {
    section.querySelector(".controls").hidden = true;
    $("missing").hidden = false;
    $("missing").textContent = "This browser is too old for the interactive view; the figures below show the same.";
    return;
  }
  data = JSON.parse(document.getElementById("explore-data").textContent);
  data.runs = await Promise.all(data.runs.map(unpackRun));
  state = readLink();
  connect();
  restore();
  loadWhenNear();
}

start();
