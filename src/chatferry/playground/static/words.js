// The words of the page's language, as the server put them into the page.

const all = JSON.parse(document.getElementById("words").textContent);

export const lang = document.documentElement.lang;

/** The text of a key, with what `{name}` stands for; the key itself, if there is no such text. */
export function t(key, values = {}) {
  return (all[key] ?? key).replace(/\{(\w+)\}/g, (hole, name) => (name in values ? String(values[name]) : hole));
}
