// A Matroska file of JPEGs as they came, each at its own time: nothing is encoded again. Times are whole milliseconds
// from the first picture. The file is made of parts; its head and index come last and are put in front.

const ID = {
  ebml: 0x1a45dfa3, ebmlVersion: 0x4286, ebmlReadVersion: 0x42f7, maxIdLength: 0x42f2, maxSizeLength: 0x42f3,
  docType: 0x4282, docTypeVersion: 0x4287, docTypeReadVersion: 0x4285,
  segment: 0x18538067,
  info: 0x1549a966, timestampScale: 0x2ad7b1, duration: 0x4489, date: 0x4461, title: 0x7ba9, muxer: 0x4d80, writer: 0x5741,
  tracks: 0x1654ae6b, track: 0xae, number: 0xd7, uid: 0x73c5, type: 0x83, lacing: 0x9c, codec: 0x86,
  video: 0xe0, width: 0xb0, height: 0xba,
  cluster: 0x1f43b675, timestamp: 0xe7, simpleBlock: 0xa3,
  cues: 0x1c53bb6b, cue: 0xbb, cueTime: 0xb3, cuePlace: 0xb7, cueTrack: 0xf7, cueCluster: 0xf1,
};
const MS_2001 = Date.UTC(2001, 0, 1); // Matroska's dates count from then
const CLUSTER_MS = 2000; // a block's time is 16 bits of milliseconds after its cluster's

export class Matroska {
  bytes = 0; // of the pictures so far
  frames = 0;
  #clusters = []; // { ms, blob, size }: a blob need not stay in memory
  #blocks = []; // of the cluster that is being filled
  #clusterMs = 0;
  #firstUs = 0;
  #lastMs = -1;
  #size = null; // of the first picture: [width, height]

  // add takes a JPEG, its time of capture in µs and its size. The bytes are kept: do not change them.
  add(jpeg, us, width, height) {
    if (!this.frames) [this.#firstUs, this.#size] = [us, [width, height]];
    // A clock that was set back does not let time run backwards.
    const ms = Math.max(this.#lastMs + 1, Math.round((us - this.#firstUs) / 1000));
    if (!this.frames || ms - this.#clusterMs >= CLUSTER_MS) {
      this.#flush();
      this.#clusterMs = ms;
    }
    const after = ms - this.#clusterMs;
    this.#blocks.push(head(ID.simpleBlock, 4 + jpeg.length), Uint8Array.of(0x81, after >> 8, after & 0xff, 0x80), jpeg);
    this.#lastMs = ms;
    this.bytes += jpeg.length;
    this.frames++;
  }

  get durationMs() {
    return Math.max(0, this.#lastMs);
  }

  // file is the whole so far.
  file(title) {
    this.#flush();
    const [width, height] = this.#size ?? [1, 1];
    const interval = this.frames > 1 ? this.#lastMs / (this.frames - 1) : 0;
    const info = element(ID.info,
      element(ID.timestampScale, uint(1e6)),
      element(ID.duration, float(this.durationMs + interval)),
      element(ID.date, date(this.#firstUs)),
      element(ID.title, text(title)), element(ID.muxer, text('framebus')), element(ID.writer, text('framebus')));
    const tracks = element(ID.tracks, element(ID.track,
      element(ID.number, uint(1)), element(ID.uid, uint(1)), element(ID.type, uint(1)), element(ID.lacing, uint(0)),
      element(ID.codec, text('V_MJPEG')),
      element(ID.video, element(ID.width, uint(width)), element(ID.height, uint(height)))));
    // Places are 8 bytes each, so that the index's own size does not depend on them.
    const before = info.length + tracks.length + this.#cues(0).length;
    const cues = this.#cues(before);
    const size = before + this.#clusters.reduce((sum, c) => sum + c.size, 0);
    const ebml = element(ID.ebml,
      element(ID.ebmlVersion, uint(1)), element(ID.ebmlReadVersion, uint(1)), element(ID.maxIdLength, uint(4)),
      element(ID.maxSizeLength, uint(8)), element(ID.docType, text('matroska')), element(ID.docTypeVersion, uint(4)),
      element(ID.docTypeReadVersion, uint(2)));
    const parts = [ebml, head(ID.segment, size), info, tracks, cues, ...this.#clusters.map((c) => c.blob)];
    return new Blob(parts, { type: 'video/x-matroska' });
  }

  #cues(before) {
    let at = before;
    const list = this.#clusters.map(({ ms, size }) => {
      const cue = element(ID.cue, element(ID.cueTime, uint(ms)),
        element(ID.cuePlace, element(ID.cueTrack, uint(1)), element(ID.cueCluster, uint(at, 8))));
      at += size;
      return cue;
    });
    return element(ID.cues, ...list);
  }

  #flush() {
    if (!this.#blocks.length) return;
    const time = element(ID.timestamp, uint(this.#clusterMs));
    const length = this.#blocks.reduce((sum, b) => sum + b.length, time.length);
    const blob = new Blob([head(ID.cluster, length), time, ...this.#blocks]);
    this.#clusters.push({ ms: this.#clusterMs, blob, size: blob.size });
    this.#blocks = [];
  }
}

function element(id, ...content) {
  const length = content.reduce((sum, c) => sum + c.length, 0);
  return joined(head(id, length), ...content);
}

// head is an element's id and its length, the latter in 8 bytes.
function head(id, length) {
  const size = uint(length, 8);
  size[0] = 0x01;
  return joined(uint(id), size);
}

// uint is big-endian, in as few bytes as it needs, or in so many.
function uint(n, bytes = 0) {
  const out = [];
  for (let left = n; left > 0 || out.length < Math.max(1, bytes); left = Math.floor(left / 256)) out.unshift(left % 256);
  return Uint8Array.from(out);
}

function float(n) {
  const out = new DataView(new ArrayBuffer(8));
  out.setFloat64(0, n);
  return new Uint8Array(out.buffer);
}

function date(us) {
  const out = new DataView(new ArrayBuffer(8));
  out.setBigInt64(0, BigInt(Math.round(us - 1000 * MS_2001)) * 1000n);
  return new Uint8Array(out.buffer);
}

const text = (s) => new TextEncoder().encode(s);

function joined(...parts) {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
