// The page's data: base64, gzip, and numbers as 16-bit codes (gradflow/report/quantising.py says which).

const [NULL, ZERO, FIRST, LAST] = [0, 1, 2, 65535];
const UNSCALE = { log: Math.exp, asinh: Math.sinh, linear: (value) => value };

async function unpack(base64) {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  const unzipped = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unzipped).arrayBuffer();
}

// Little-endian, as every browser's machine is.
async function unpackRun(run) {
  return { ...run, codes: new Uint16Array(await unpack(run.codes)) };
}

// The value of the quantity, unit and iteration with these positions in their lists; null if there is none.
function valueAt(data, run, quantity, unit, iteration) {
  const place = (quantity * run.units.unit.length + unit) * run.iterations.length + iteration;
  const code = run.codes[place];
  if (code === NULL) return null;
  if (code === ZERO) return 0;
  const [low, high] = run.ranges[quantity];
  return UNSCALE[data.quantities[quantity].scale](low + ((code - FIRST) / (LAST - FIRST)) * (high - low));
}

// The position of the iteration that is nearest to the given one.
function nearest(iterations, iteration) {
  let best = 0;
  iterations.forEach((one, index) => {
    if (Math.abs(one - iteration) < Math.abs(iterations[best] - iteration)) best = index;
  });
  return best;
}

const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

// A number as the figures write it: 0.0125, 3.1·10⁻⁸.
function formatNumber(value, digits = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-3 && size < 1e5)) {
    const rounded = Number(value.toPrecision(digits));
    return String(size < 10 ** digits ? rounded : Math.round(value)).replace("-", "−");
  }
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = "10" + [...String(Number(exponent))].map((character) => SUPERSCRIPTS[character]).join("");
  const factor = String(Number(mantissa)).replace("-", "−");
  return factor === "1" ? power : `${factor}·${power}`;
}
