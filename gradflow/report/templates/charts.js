// The two charts, by Plotly: a quantity by unit and iteration, and by unit at one iteration.
// Plotly reads markup in strings, so no name of a run or a unit is given to it.

function themeColour(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

function roundSteps(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((one) => one * power >= raw) ?? 10);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(tick * step);
  return ticks;
}

// How values become positions on an axis or colours, and where its numbers stand.
function makeAxis(scale, values) {
  const known = values.filter((value) => value !== null && (scale !== "log" || value > 0));
  let [low, high] = [Infinity, -Infinity];
  for (const value of known) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (!known.length) [low, high] = [0.5, 1.5];
  if (low === high) [low, high] = scale === "log" ? [low / 1.5, high * 1.5] : [low - 0.5, high + 0.5];
  if (scale === "log") return logAxis(low, high);
  if (scale === "asinh" && Math.max(-low, high) > 8) return asinhAxis(low, high);
  return { place: (value) => value, ticks: roundSteps(low, high, 5), low, high };
}

function logAxis(low, high) {
  const place = (value) => (value > 0 ? Math.log10(value) : null);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  if (high / low < 5) return { place, ticks: roundSteps(low, high, 4), low, high };
  const stride = Math.max(1, Math.ceil((last - first) / 7));
  const mantissas = last - first <= 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power += stride) {
    for (const mantissa of mantissas) ticks.push(mantissa * 10 ** power);
  }
  return { place, ticks: ticks.filter((tick) => tick >= low && tick <= high), low, high };
}

function asinhAxis(low, high) {
  const powers = [];
  for (let size = 1; size <= Math.max(-low, high); size *= 10) powers.push(size, -size);
  const ticks = [0, ...powers].filter((tick) => tick >= low && tick <= high).sort((a, b) => a - b);
  return { place: Math.asinh, ticks, low, high };
}

// With as many digits as tell one tick from the next: 1.0001 and 1.0002 are not both 1.
function ticksOf(axis) {
  const step = Math.min(...axis.ticks.slice(1).map((tick, number) => Math.abs(tick - axis.ticks[number])));
  const largest = Math.max(...axis.ticks.map(Math.abs));
  const digits = Number.isFinite(step) && step > 0 ? Math.ceil(Math.log10(largest / step)) + 1 : 3;
  return {
    tickmode: "array",
    tickvals: axis.ticks.map(axis.place),
    ticktext: axis.ticks.map((tick) => formatNumber(tick, Math.min(12, Math.max(3, digits)))),
  };
}

// From the lowest to the highest that is drawn, with a little around it.
function rangeOf(axis) {
  const [low, high] = [axis.place(axis.low), axis.place(axis.high)];
  const margin = 0.06 * (high - low);
  return [low - margin, high + margin];
}

function colourScale(quantity, axis) {
  if (quantity.middle === null) {
    return { colorscale: quantity.scale === "linear" ? "Cividis" : "Viridis" };
  }
  const middle = axis.place(quantity.middle);
  const reach = Math.max(Math.abs(axis.place(axis.low) - middle), Math.abs(axis.place(axis.high) - middle), 1e-9);
  const colours = data.diverging[matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"];
  return { colorscale: colours.map((colour, number) => [number / (colours.length - 1), colour]), zmin: middle - reach, zmax: middle + reach };
}

function baseLayout(height) {
  const axis = {
    gridcolor: themeColour("--grid"), linecolor: themeColour("--muted"), zeroline: false, automargin: true,
    tickfont: { color: themeColour("--muted") },
  };
  const touch = matchMedia("(pointer: coarse)").matches;
  return {
    height, margin: { l: 8, r: 8, t: 12, b: 8 }, showlegend: false, hovermode: "closest", hoverdistance: 60,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: themeColour("--ink") },
    dragmode: touch ? false : "zoom", // else a finger could not scroll past the chart
    xaxis: { ...axis }, yaxis: { ...axis },
  };
}

const CONFIG = { responsive: true, displayModeBar: false, doubleClick: false };

function line(vertical, at, colour, width) {
  const [along, across] = vertical ? ["x", "y"] : ["y", "x"];
  return {
    type: "line", [`${along}0`]: at, [`${along}1`]: at, [`${across}0`]: 0, [`${across}1`]: 1,
    [`${across}ref`]: "paper", line: { color: colour, width },
  };
}

// Draw `scene.values[unit][iteration]` of one run; the lines of the chosen unit and iteration come after.
function drawSurface(element, scene) {
  const middle = scene.quantity.middle === null ? [] : [scene.quantity.middle];
  const axis = makeAxis(scene.quantity.scale, [...scene.values.flat(), ...middle]);
  const layout = baseLayout(340);
  layout.xaxis = { ...layout.xaxis, title: { text: "iteration" }, tickformat: ",d", showgrid: false };
  layout.yaxis = { ...layout.yaxis, title: { text: "residual unit l" }, showgrid: false, ...wholeSteps(scene) };
  layout.shapes = surfaceLines(scene);
  layout.dragmode = false;
  const trace = {
    type: "heatmap", x: scene.iterations, y: scene.units,
    z: scene.values.map((row) => row.map((value) => (value === null ? null : axis.place(value)))),
    hoverinfo: "none", ...colourScale(scene.quantity, axis),
    colorbar: { ...ticksOf(axis), thickness: 12, outlinewidth: 0, tickfont: { color: themeColour("--muted") } },
  };
  return Plotly.react(element, [trace], layout, CONFIG);
}

// White on black, which is seen on any colour.
function surfaceLines(scene) {
  const outlined = (vertical, at, width = 1.5) => [
    line(vertical, at, "rgba(0,0,0,0.6)", width + 2.5), line(vertical, at, "#ffffff", width),
  ];
  return [
    ...scene.stageStarts.flatMap((unit) => outlined(false, unit - 0.5, 0.5)),
    ...outlined(true, scene.iteration),
    ...(scene.unit === null ? [] : outlined(false, scene.unit)),
  ];
}

// Of few units each has its number; of many, the library chooses.
function wholeSteps(scene) {
  return scene.to - scene.from < 12 ? { tick0: 0, dtick: 1 } : {};
}

function inSpan(scene, unit) {
  return unit >= scene.from && unit <= scene.to;
}

// Draw the lines of `scene.runs`, each with its `units` and `values`; the chosen one is drawn stronger.
function drawDepth(element, scene) {
  // Middle and lines alike are in view: the line of no change is what the others are read against.
  const shown = scene.runs.flatMap((run) => run.values.filter((_, at) => inSpan(scene, run.units[at])));
  const middle = scene.quantity.middle === null ? [] : [scene.quantity.middle];
  const axis = makeAxis(scene.quantity.scale, [...shown, ...middle]);
  const layout = baseLayout(340);
  const symbol = scene.quantity.symbol;
  layout.xaxis = {
    ...layout.xaxis, title: { text: "residual unit l" }, showgrid: false, tickformat: "d", ...wholeSteps(scene),
    range: [scene.from - 0.6, scene.to + 0.6],
  };
  layout.yaxis = { ...layout.yaxis, title: { text: symbol }, ...ticksOf(axis), range: rangeOf(axis), fixedrange: true };
  const band = themeColour("--band");
  layout.shapes = scene.stages.filter((_, number) => number % 2 === 0).map(([first, last]) => ({
    type: "rect", x0: first - 0.5, x1: last + 0.5, y0: 0, y1: 1, yref: "paper", layer: "below",
    fillcolor: band, line: { width: 0 },
  }));
  if (scene.unit !== null) layout.shapes.push(line(true, scene.unit, themeColour("--muted"), 1));
  for (const value of middle) {
    layout.shapes.push({ ...line(false, axis.place(value), themeColour("--muted"), 1), layer: "below" });
  }
  const traces = scene.runs.map((run) => ({
    type: "scatter", mode: "lines+markers", x: run.units, hoverinfo: "none", connectgaps: false,
    y: run.values.map((value) => (value === null ? null : axis.place(value))),
    line: { color: themeColour(run.colour), dash: run.dash, width: run.chosen ? 2.5 : 1.2 },
    marker: { size: run.chosen ? 6 : 4 },
  }));
  return Plotly.react(element, traces, layout, CONFIG);
}
