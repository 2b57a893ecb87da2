// The latency strip: the machine-readable clock in the top rows of the test pattern (docs/protocol.md). 64 cells:
// 8 bits of mark, 40 bits of unix time in units of 10 µs, 16 bits of CRC-16/CCITT-FALSE.

const CELLS = 64;
const ROWS = 16;
const MARK = 0b10101100;
const MODULUS = 2 ** 40;

// readStrip gives the strip's time in µs since 1970, or null where a picture has none. `image` is ImageData; nearUs is
// any time within two months of it.
export function readStrip(image, nearUs) {
  const { width, height, data } = image;
  if (width < CELLS) return null;
  const y = Math.min(Math.max(Math.floor((ROWS * width) / 640 / 2), 1), ROWS / 2, height - 1);
  const bytes = new Uint8Array(CELLS / 8);
  for (let cell = 0; cell < CELLS; cell++) {
    const x = Math.floor(((2 * cell + 1) * width) / (2 * CELLS));
    const i = 4 * (y * width + x);
    const luma = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
    bytes[cell >> 3] = (bytes[cell >> 3] << 1) | (luma >= 128 ? 1 : 0);
  }
  if (bytes[0] !== MARK || ((bytes[6] << 8) | bytes[7]) !== crc16(bytes.subarray(1, 6))) return null;
  const time = bytes.subarray(1, 6).reduce((t, b) => t * 256 + b, 0);
  const near = Math.floor(nearUs / 10);
  let diff = (time - near) % MODULUS;
  if (diff > MODULUS / 2) diff -= MODULUS;
  if (diff < -MODULUS / 2) diff += MODULUS;
  return (near + diff) * 10;
}

function crc16(bytes) {
  let crc = 0xffff;
  for (const b of bytes) {
    crc ^= b << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
