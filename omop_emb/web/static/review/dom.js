// Small helpers for the elements of a page.

export const byId = (id) => document.getElementById(id);

/** An element; attributes that are null, undefined or false are left out, functions are listeners. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Puts children into an element, in place of what it has; null, undefined and false are left out. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Tells screen readers what happened, and shows it for those who look. */
export function announce(text) {
  byId("said").textContent = text;
}

export const percent = (value) => `${Math.round(100 * value)} %`;
export const count = (value) => value.toLocaleString("en");

/** "1 term", "2 terms". */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
