// The token for publishing, kept as long as the tab and never in the URL or on the disk.

const KEY = 'framebus.token';

export function recall() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return ''; // private windows may forbid it
  }
}

export function remember(token) {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // The token then lasts as long as the page.
  }
}
