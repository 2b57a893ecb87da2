// sentence is words as a sentence begins.
export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

// element makes one of a class and a text. Text is never read as HTML.
export function element(name, className = '', text = '') {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
