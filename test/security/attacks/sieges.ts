/** Which attacks are made on which listeners: with no identity wherever one is let to, and as a user where one has to be one. */
import type { Siege } from "./siege.ts";

const anonymous: Siege["attack"][] = [
  "rapid-reset", "continuation-flood", "ping-flood", "settings-flood", "window-flood", "empty-data-flood", "header-bomb", "compression-bomb", "slow-handshakes",
  "slow-requests",
];

export const SIEGES: readonly Siege[] = [
  ...anonymous.map((attack): Siege => ({ attack, on: "public", as: "nobody" })),
  { attack: "stalled-lists", on: "public", as: "user" },
  { attack: "stalled-watches", on: "public", as: "user" },
  { attack: "busy-user", on: "public", as: "user" },
  { attack: "slow-handshakes", on: "agents", as: "nobody" },
  { attack: "ping-flood", on: "agents", as: "nobody" },
  { attack: "ping-flood", on: "enrolment", as: "nobody" },
];
