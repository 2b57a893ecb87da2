// Why the gateway does not let a page in, or closed its connection: in the gateway's own words where it has any.

import { sentence } from './dom.js';

export function closeWords(event) {
  if (event.reason) return sentence(event.reason);
  if (event.code === 1001) return 'The gateway is going away';
  if (event.code === 1008) return 'The gateway closed the connection by policy';
  if (event.code === 1009) return 'A message was too large for the gateway';
  if (event.code === 1013) return 'The gateway is busy';
  return 'The connection was lost';
}

// forPrograms tells whether a hint is of paths and headers, which is no help to who looks at a page.
const forPrograms = (hint) => /^[A-Z]+ \/|Authorization/.test(hint);

// refusal asks the same path over HTTP, because a page cannot see why a handshake failed. It resolves to the status, 0
// where nobody is there, and the gateway's own words, '' where it refuses nothing.
export async function refusal(url, headers = {}) {
  try {
    const answer = await fetch(url, { cache: 'no-store', headers: { accept: 'application/json', ...headers } });
    const { status } = answer;
    if (answer.ok || status === 426) return { status, words: '' };
    const text = await answer.text();
    try {
      const { error, message, reason, hint } = JSON.parse(text);
      const words = [error || message || reason, hint].filter((s) => typeof s === 'string' && s && !forPrograms(s));
      if (words.length) return { status, words: words.map(sentence).join('. ') };
    } catch {
      // Not JSON: a proxy in between speaks.
    }
    return { status, words: `The gateway refused: ${status} ${answer.statusText}` };
  } catch {
    return { status: 0, words: '' };
  }
}
