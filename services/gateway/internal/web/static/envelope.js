// The envelope: the fixed header in front of every picture (docs/protocol.md). Network byte order. Times are µs since
// 1970 and fit a double's 53 bits until the year 2255, so they are plain numbers here.

export const HEADER_LEN = 80;
export const FORMAT_JPEG = 3;
export const FLAG_SAMPLED = 1;
export const FLAG_UNSYNCED = 2;
export const RUNGS = ['full', 'half', 'quarter'];

const MAGIC = 0x46424631; // "FBF1"
const NOT_SET = -0x80000000;

// decode reads the header of a message and throws where it is none. `start` is where the payload begins: the header
// says its own length, because later versions append fields.
export function decode(buffer) {
  if (buffer.byteLength < HEADER_LEN) throw new Error(`truncated envelope: ${buffer.byteLength} bytes`);
  const v = new DataView(buffer);
  if (v.getUint32(0) !== MAGIC) throw new Error('not a framebus envelope');
  const start = v.getUint8(4);
  if (start < HEADER_LEN || start > buffer.byteLength) throw new Error(`header of ${start} bytes`);
  const bytes = v.getUint32(60);
  if (start + bytes !== buffer.byteLength) throw new Error('payload length does not match');
  const hop = (at) => {
    const us = v.getInt32(at);
    return us === NOT_SET ? null : us;
  };
  return {
    start,
    bytes,
    format: v.getUint8(5),
    rung: v.getUint8(6),
    quality: v.getUint8(7),
    width: v.getUint16(8),
    height: v.getUint16(10),
    channel: v.getUint16(12),
    flags: v.getUint16(14),
    epoch: uint64(v, 16),
    sequence: uint64(v, 24),
    capturedUs: v.getInt32(32) * 0x100000000 + v.getUint32(36),
    // µs after capture, null where not set
    hops: { published: hop(40), taken: hop(44), encoded: hop(48), received: hop(52), handed: hop(56) },
    traceId: hex(new Uint8Array(buffer, 64, 16)),
  };
}

function uint64(view, at) {
  return view.getUint32(at) * 0x100000000 + view.getUint32(at + 4);
}

// hex is empty for the zero id: no trace.
function hex(bytes) {
  const s = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return /^0*$/.test(s) ? '' : s;
}
