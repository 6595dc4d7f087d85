// Looks at the page as it is drawn and says what is wrong with it; runs as the body of a function, see looks.rs.
const faults = [];
const parse = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
};
// What lies behind an element: the nearest opaque background. Half-transparent ones are a fault, since nobody can measure them here.
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { rgb, alpha } = parse(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
    if (alpha !== 0) faults.push(`a half-transparent background on ${at.tagName}`);
  }
  faults.push("no background below " + element.tagName);
  return [255, 255, 255];
};
const luminance = (rgb) => {
  const [red, green, blue] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
const demand = (what, one, other, least) => {
  const ratio = contrast(one, other);
  if (ratio < least) faults.push(`${what}: contrast ${ratio.toFixed(2)}, less than ${least}`);
};

const width = window.innerWidth;
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) faults.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
let texts = 0;
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.height === 0) continue;
  const style = getComputedStyle(element);
  const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join(" ").trim();
  const name = `${element.tagName}#${element.id} ${JSON.stringify(own.slice(0, 30))}`;
  if (box.left < 0 || box.right > width + 0.5) faults.push(`${name} reaches from ${box.left} to ${box.right} of ${width}`);
  const isField = element.matches("input, textarea, select");
  if (own || isField) {
    texts += 1;
    demand(name, parse(style.color).rgb, behind(element), 4.5);
    if (parse(style.color).alpha !== 1) faults.push(`${name}: half-transparent text`);
    if (parseFloat(style.fontSize) < 13) faults.push(`${name}: letters of ${style.fontSize}`);
  }
  if (isField) demand(`the edge of ${name}`, parse(style.borderTopColor).rgb, behind(element.parentElement), 3);
  if (element.matches("button, .button, input, textarea") && box.height < 44) faults.push(`${name} is ${box.height} pixels high`);
}
return { faults, texts, width, paper: getComputedStyle(document.body).backgroundColor };
