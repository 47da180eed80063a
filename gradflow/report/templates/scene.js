// What is chosen, in words, in the table and in the charts.

let plotlyLoading;
let drawnSurface = "";

function showUnit(run) {
  const index = run.units.unit.indexOf(state.unit);
  $("unit").hidden = index < 0;
  $("unit").replaceChildren(...(index < 0 ? [] : describeUnit(run, index, iterationOf(run))));
}

// The unit's numbers, as a heading and a list.
function describeUnit(run, index, iteration) {
  const words = TOLD.slice(1).map((name) => [name, run.units[name][index]]).filter(([, value]) => value !== null);
  const told = words.map(([name, value]) => (name === "stage" ? `stage ${value}` : value)).join(", ");
  const when = run.iterations.length > 1 ? `, iteration ${run.iterations[iteration].toLocaleString("en")}` : "";
  const list = document.createElement("dl");
  data.quantities.forEach((quantity, number) => {
    const value = valueAt(data, run, number, index, iteration);
    if (value === null) return;
    const pair = document.createElement("div");
    pair.append(element("dt", quantity.title), element("dd", formatNumber(value, 4)));
    list.append(pair);
  });
  return [element("p", `Unit ${run.units.unit[index]} (${told}) of ${run.label}${when}`), list];
}

function showTable(run) {
  const [from, to] = spanOf(run);
  const all = tableRows(data, run, iterationOf(run), from, to, state.stage);
  const rows = sortRows(filterRows(all, state.filter), state.sort);
  showSorting($("heads"), state.sort);
  showRows($("rows"), data, rows, state.unit, (unit) => choose({ unit: unit === state.unit ? null : unit }));
  if ($("filter").value !== state.filter) $("filter").value = state.filter;
  $("count").textContent = rows.length
    ? `${rows.length} of ${run.units.unit.length} units`
    : "No unit is left: change the filter, the stage or the span.";
}

function surfaceScene(run) {
  const quantity = quantityNumber();
  const [from, to] = spanOf(run);
  const shown = run.units.unit.map((unit, index) => [unit, index]).filter(([unit]) => unit >= from && unit <= to);
  return {
    quantity: data.quantities[quantity], units: shown.map(([unit]) => unit), iterations: run.iterations,
    values: shown.map(([, index]) => run.iterations.map((_, at) => valueAt(data, run, quantity, index, at))),
    stageStarts: stagesOf(run).map(([, first]) => first).filter((unit) => unit > from && unit <= to),
    iteration: run.iterations[iterationOf(run)], unit: state.unit, from, to,
  };
}

// In words which of the values have no place in the charts; nothing if all have.
function whatIsLeftBlank(run, scene) {
  const values = scene.values.flat();
  const nulls = values.filter((value) => value === null).length;
  const zeros = scene.quantity.scale === "log" ? values.filter((value) => value === 0).length : 0;
  const told = [
    nulls ? `${nulls} are null, or not finite` : "",
    zeros ? `${zeros} are exactly 0, for which a logarithmic axis has no place` : "",
  ].filter(Boolean).join("; ");
  return told && `Of ${values.length} values of the ${scene.quantity.title} of ${run.label} some are left blank: ${told}.`;
}

async function showCharts(run) {
  if (!plotlyLoading) return;
  await plotlyLoading;
  const scene = surfaceScene(run);
  const known = scene.values.some((row) => row.some((value) => value !== null));
  const left = known ? whatIsLeftBlank(run, scene) : `${run.label} has no value of the ${scene.quantity.title}: it is null, or not finite.`;
  $("missing").hidden = !left;
  $("missing").textContent = left;
  $("title").textContent = `${scene.quantity.title}: ${scene.quantity.symbol}`;
  $("surface").hidden = run.iterations.length < 2 || !known;
  if (!$("surface").hidden) {
    const key = JSON.stringify([state.quantity, run.key, scene.from, scene.to, themeColour("--ink")]);
    if (key === drawnSurface) await Plotly.relayout($("surface"), { shapes: surfaceLines(scene) });
    else await drawSurface($("surface"), scene);
    drawnSurface = key;
    const what = `${scene.quantity.title} of units ${scene.from} to ${scene.to} over iterations of ${run.label}`;
    $("surface").setAttribute("aria-label", `Chart: ${what}. Its numbers are in the table below.`);
  }
  const lines = data.runs.map((one) => {
    const at = iterationOf(one);
    return {
      units: one.units.unit, colour: one.colour, dash: one.dash, chosen: one === run,
      values: one.units.unit.map((_, index) => valueAt(data, one, quantityNumber(), index, at)),
    };
  });
  const stages = stagesOf(run).map(([, first, last]) => [first, last]);
  await drawDepth($("depth"), { ...scene, runs: lines, stages });
  $("depth").setAttribute(
    "aria-label", `Chart: ${scene.quantity.title} by unit, of ${data.runs.map((one) => one.label).join(", ")}.`,
  );
  // What the library measures text with is off the screen, and no picture.
  document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
  listen();
  section.dataset.drawn = location.hash || "#";
}

function showLegend(run) {
  $("legend").replaceChildren(...data.runs.map((one) => {
    const item = element("li", "", one === run ? { "aria-current": "true" } : {});
    const swatch = element("span", "", { class: "swatch" });
    swatch.style.background = `var(${one.colour})`;
    const when = one.iterations.length > 1 ? `, iteration ${one.iterations[iterationOf(one)].toLocaleString("en")}` : "";
    item.append(swatch, one.label + when);
    return item;
  }));
}
