// Speaks HTTP with the gateway.

import { say } from "./words.js";

let aheadMs = 0; // how much the gateway's clock is ahead of the browser's: a site's clocks may differ by hours

/** The gateway's time in microseconds. */
export const gatewayNow = () => (Date.now() + aheadMs) * 1000;

/** The gateway answered that it does not do that: its own sentence, and the HTTP status. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** The JSON at an address; throws Refused with the gateway's own sentence, or an Error when it does not answer. */
export const get = (path) => ask(path, {});

/** Posts JSON and gives the JSON of the answer; throws the same. */
export function post(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Posts a file as it is and gives the JSON of the answer; throws the same. */
export function send(path, file) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(say("failedRequest"));
  }
  const date = Date.parse(response.headers.get("Date"));
  if (date) aheadMs = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status === 507 ? say("noRoom") : answer.detail, response.status);
  return answer;
}
