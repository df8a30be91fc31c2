// Questions to the server this page came from. Asks the reader for the token when the server wants one, once.

const KEY = "recorder.token";
let asking = null; // the dialog under way: whoever else needs the token waits for the same one

export class AskError extends Error {
  // status 0: the server did not answer at all
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// JSON of a path. Rejects with AskError; its message is a sentence for the reader.
export async function ask(path, parameters = {}, { signal } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    let answer;
    try {
      answer = await fetch(withQuery(path, parameters), { headers, signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new AskError("The server does not answer.", 0);
    }
    if (answer.status === 401) {
      if (token === sessionStorage.getItem(KEY)) await askToken(token !== null);
      continue;
    }
    const body = await answer.json().catch(() => null);
    if (!answer.ok || body === null) {
      throw new AskError(body?.error ?? `The server answered ${answer.status}.`, answer.status);
    }
    return body;
  }
}

// Where a WebSocket connects: browsers can send no header with it, so the token goes into the query.
export function socketUrl(path, parameters = {}) {
  const token = sessionStorage.getItem(KEY);
  const url = new URL(withQuery(path, token === null ? parameters : { ...parameters, token }), location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null) query.set(name, String(value));
  }
  return query.size ? `${path}?${query}` : path;
}

function askToken(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token-dialog");
    const input = document.getElementById("token-input");
    document.getElementById("token-wrong").hidden = !wasWrong;
    input.value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, input.value.trim());
      input.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
