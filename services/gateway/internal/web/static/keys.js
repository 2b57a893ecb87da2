// Keyboard and buttons do the same things: a button's data-action names what its key does.

const KEYS = {
  o: 'overlay',
  p: 'plots',
  f: 'fullscreen',
  s: 'snapshot',
  r: 'record',
  n: 'next',
  t: 'trace',
  l: 'ledger',
  h: 'help',
  '?': 'help',
  escape: 'close',
  0: 'auto',
  1: 'full',
  2: 'half',
  3: 'quarter',
};

// bind calls actions[name]() for keys and for every [data-action] button.
export function bind(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const action = actions[KEYS[event.key.toLowerCase()]];
    if (!action) return;
    if (action() !== false) event.preventDefault();
  });
  for (const button of document.querySelectorAll('[data-action]')) {
    button.addEventListener('click', () => actions[button.dataset.action]());
  }
}
