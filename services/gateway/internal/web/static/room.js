// Who is in a room: streams by the name call-ROOM-xxxx are, each by its own. No one keeps a list; the names are it.

export const MOST = 6;
export const ROOM = /^[a-z0-9][a-z0-9_-]{0,49}$/;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const SUFFIX = 4;

// newName is one for a new member, which hardly anybody else has.
export function newName(room) {
  const random = crypto.getRandomValues(new Uint32Array(SUFFIX));
  return `call-${room}-${Array.from(random, (n) => LETTERS[n % LETTERS.length]).join('')}`;
}

// suffix is what tells a member from the others of its room, '' of a stream that is not in it. The rooms a and a-b do
// not mix: what follows the room's name is a suffix and nothing else.
export function suffix(stream, room) {
  const rest = stream.startsWith(`call-${room}-`) ? stream.slice(`call-${room}-`.length) : '';
  return rest.length === SUFFIX && /^[a-z0-9]+$/.test(rest) ? rest : '';
}

// members are the room's streams that live, in the order they came: by their run's beginning, then by name. So of seven
// who come at once all know which one is too many.
export function members(streams, room) {
  return streams
    .filter((s) => s.state !== 'gone' && suffix(s.name, room))
    .sort((a, b) => Number(a.epoch) - Number(b.epoch) || (a.name < b.name ? -1 : 1))
    .map((s) => s.name);
}
