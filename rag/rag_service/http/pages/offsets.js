// Places in a text: the service counts characters, a JavaScript string counts UTF-16 units.

/** Where these places, counted in characters and in order, are in a string. */
export function unitsOf(text, places) {
  if (!/[\ud800-\udbff]/.test(text)) return places;
  let characters = 0;
  let units = 0;
  return places.map((wanted) => {
    for (; characters < wanted; characters += 1) units += text.codePointAt(units) > 0xffff ? 2 : 1;
    return units;
  });
}

/** The unit at which the character that `unit` lies in begins. */
export const characterStart = (text, unit) => (/[\udc00-\udfff]/.test(text.charAt(unit)) ? unit - 1 : unit);

/** What `text` is made of when it is cut at these units: `[start, piece]` from `first` to `last`, none of them empty. */
export function cut(text, units, first = 0, last = text.length) {
  const inside = units.filter((unit) => unit > first && unit < last);
  const sorted = [...new Set([first, ...inside, last])].sort((one, other) => one - other);
  return sorted.slice(0, -1).map((start, index) => [start, text.slice(start, sorted[index + 1])]);
}
