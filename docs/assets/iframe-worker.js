// The search runs in a worker, which browsers refuse to pages that are opened from a folder: there an empty frame runs it.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.frame = new Promise((resolve) => {
        frame.onload = () => {
          const script = frame.contentDocument.createElement("script");
          script.onload = () => resolve(frame.contentWindow);
          script.src = url;
          frame.contentWindow.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          frame.contentDocument.head.append(script);
        };
      });
      frame.srcdoc = "<!doctype html><title>search</title>";
      document.body.append(frame);
    }

    postMessage(data) {
      this.frame.then((frame) => frame.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
