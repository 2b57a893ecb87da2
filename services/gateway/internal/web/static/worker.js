// Starting a worker that may not be able to do its work here: browsers differ in what a worker can.

const START_MS = 4000;

// startWorker resolves to a worker that says of itself that it is able, or null: then the page does its work.
export function startWorker(file, options) {
  if (typeof OffscreenCanvas !== 'function' || typeof Worker !== 'function') return Promise.resolve(null);
  return new Promise((resolve) => {
    let worker;
    try {
      worker = new Worker(new URL(file, import.meta.url), options);
    } catch {
      resolve(null);
      return;
    }
    const settle = (able) => {
      clearTimeout(timer);
      worker.onmessage = worker.onerror = null;
      if (!able) worker.terminate();
      resolve(able ? worker : null);
    };
    const timer = setTimeout(() => settle(false), START_MS);
    worker.onerror = (event) => {
      event.preventDefault();
      settle(false);
    };
    worker.onmessage = ({ data }) => settle(data.able);
  });
}
