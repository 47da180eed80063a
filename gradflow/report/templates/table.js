// The table of units: sorted by any column, filtered by words. Cells are text, never markup.

const TOLD = ["unit", "name", "stage", "shortcut"];

function tableRows(data, run, iteration, from, to, stage) {
  const rows = [];
  run.units.unit.forEach((unit, index) => {
    if (unit < from || unit > to || (stage !== null && run.units.stage[index] !== stage)) return;
    const row = Object.fromEntries(TOLD.map((name) => [name, run.units[name][index]]));
    data.quantities.forEach((quantity, number) => {
      row[quantity.column] = valueAt(data, run, number, index, iteration);
    });
    rows.push(row);
  });
  return rows;
}

// Every word of the filter must be in what the row says in words; "stage 1" is one of stage 1.
function filterRows(rows, filter) {
  const words = filter.toLowerCase().replace(/\b(stage|unit)\s+(\d+)/g, "$1:$2").split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const tokens = [`stage:${row.stage}`, `unit:${row.unit}`];
    const text = `${row.name} ${row.shortcut}`.toLowerCase();
    return words.every((word) => (word.includes(":") ? tokens.includes(word) : text.includes(word)));
  });
}

// Null comes last, whichever way the rest is sorted.
function sortRows(rows, sort) {
  const descending = sort.startsWith("-");
  const column = sort.replace("-", "");
  return [...rows].sort((one, other) => {
    const [a, b] = [one[column], other[column]];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return descending ? -order : order;
  });
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The headings: buttons, so that a keyboard reaches them. `onSort` is given the column.
function makeHeads(row, data, onSort) {
  const columns = [
    ...TOLD.map((name) => ({ column: name, symbol: name, title: name, spoken: name })),
    ...data.quantities.map((one) => ({ ...one, spoken: `${one.symbol}, ${one.title}` })),
  ];
  row.replaceChildren(...columns.map(({ column, symbol, title, spoken }) => {
    const words = ["name", "shortcut"].includes(column) ? { class: "t" } : {};
    const head = element("th", "", { scope: "col", "data-column": column, ...words });
    const button = element("button", symbol, {
      type: "button", title: `sort by ${title}`, "aria-label": `Sort by ${spoken}`,
    });
    button.addEventListener("click", () => onSort(column));
    head.append(button);
    return head;
  }));
}

function showSorting(row, sort) {
  for (const head of row.children) {
    const sorted = head.dataset.column === sort.replace("-", "");
    const way = sort.startsWith("-") ? "descending" : "ascending";
    if (sorted) head.setAttribute("aria-sort", way);
    else head.removeAttribute("aria-sort");
  }
}

// What the headings stand for, where no pointer can rest on them.
function showMeanings(list, data) {
  const told = [
    ["unit", "number of the residual unit, from the input"], ["name", "the module that adds"],
    ["stage", "units with equal feature-map size and width"], ["shortcut", "what h is"],
    ...data.quantities.map((one) => [one.symbol, one.title]),
  ];
  list.replaceChildren(...told.flatMap(([symbol, meaning]) => [element("dt", symbol), element("dd", meaning)]));
}

// Whoever is in the table with the keyboard stays on the same unit when its rows are made anew.
function showRows(body, data, rows, chosen, onChoose) {
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.unit : undefined;
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    if (row.unit === chosen) line.setAttribute("aria-current", "true");
    const first = element("td", "");
    const button = element("button", row.unit, {
      type: "button", title: "show this unit in the charts", "data-unit": row.unit,
      "aria-label": `Unit ${row.unit}`, "aria-pressed": row.unit === chosen,
    });
    button.addEventListener("click", () => onChoose(row.unit));
    first.append(button);
    const words = TOLD.slice(1).map((name) => element("td", row[name] ?? "–", name === "stage" ? {} : { class: "t" }));
    const numbers = data.quantities.map((one) => element("td", formatNumber(row[one.column], 4)));
    line.append(first, ...words, ...numbers);
    return line;
  }));
  if (focused !== undefined) body.querySelector(`button[data-unit="${focused}"]`)?.focus({ preventScroll: true });
}

// Arrow keys go from unit to unit, as Tab does.
function moveAmongRows(event) {
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const at = buttons.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, to))].focus();
}
