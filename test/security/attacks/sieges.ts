/**
 * Which attacks are made on which listeners: with no identity wherever one is let to, and as a user where one has to be one;
 * and for what, by the server's own limits, they are cut. What would take longer, or is cut by HTTP/2 itself, names nothing.
 */
import type { Siege } from "./siege.ts";

const anonymous: Siege["attack"][] = [
  "rapid-reset", "continuation-flood", "ping-flood", "settings-flood", "window-flood", "empty-data-flood", "header-bomb", "compression-bomb", "slow-handshakes",
  "slow-requests",
];

/** Any of these: which limit is passed first depends on how fast the machine is. */
const CUT_FOR: Partial<Record<Siege["attack"], readonly string[]>> = {
  "rapid-reset": ["calls by nobody", "cancelled calls"],
  "ping-flood": ["pings"],
  "settings-flood": ["settings"],
  "window-flood": ["bytes received"],
  "header-bomb": ["bytes received"],
  "compression-bomb": ["compressed calls by nobody", "bytes received"],
};

export const SIEGES: readonly Siege[] = [
  ...anonymous.map((attack): Siege => ({ attack, on: "public", as: "nobody", cutFor: CUT_FOR[attack] })),
  { attack: "stalled-lists", on: "public", as: "user" },
  { attack: "stalled-watches", on: "public", as: "user" },
  { attack: "busy-user", on: "public", as: "user" },
  { attack: "slow-handshakes", on: "agents", as: "nobody" },
  { attack: "ping-flood", on: "agents", as: "nobody" },
  { attack: "ping-flood", on: "enrolment", as: "nobody", cutFor: CUT_FOR["ping-flood"] },
];
