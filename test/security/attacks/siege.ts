/** One attack on a victim: what the client that behaves sees before and during it, and what the server has come to. */
import { once } from "node:events";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { delay, systemClock } from "../../../lib/clock.ts";
import type { AttackName } from "./attacks.ts";
import type { Listener, Measured, Victim } from "./victim.ts";

/** Attackers call from here, each from an address without a past; the client that behaves does not. */
let attackers = 1;
const newAddress = () => `127.0.0.${(attackers += 1)}`;
const AFTER_MS = 250;

export type Siege = { attack: AttackName; on: Listener; /** With a certificate of a user, or as nobody. */ as: "nobody" | "user" };
export type Outcome = Siege & { alive: boolean; before: Measured; during: Measured };

/** `before` is measured by the caller, on the same server. */
export async function besiege(victim: Victim, siege: Siege, { before, seconds }: { before: Measured; seconds: number }): Promise<Outcome> {
  const { cert, key } = victim.bad;
  const target = { host: "127.0.0.1", port: victim.ports[siege.on], from: newAddress(), ...(siege.as === "user" && { cert, key }) };
  const attacker = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), siege.attack, JSON.stringify(target), String(seconds)], { stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(attacker, "exit");
  try {
    const during = await victim.measure(AbortSignal.timeout(seconds * 1000));
    return { ...siege, alive: victim.program.isAlive(), before, during };
  } finally {
    attacker.kill("SIGKILL");
    await ended;
    await delay(systemClock, AFTER_MS);
  }
}

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed();
const ms = (value: number) => value.toFixed(1);

/** A line of the table. */
export function described({ attack, on, as, alive, before, during }: Outcome): string {
  return `| ${attack} | ${on} | ${as} | ${alive ? "up" : "DOWN"} | ${mib(before.rssBytes)} → ${mib(during.rssBytes)} MiB (${(during.rssBytes / before.rssBytes).toFixed(2)}×) | ` +
    `${ms(before.p99Ms)} → ${ms(during.p99Ms)} ms (${(during.p99Ms / before.p99Ms).toFixed(2)}×) | ${ms(before.medianMs)} → ${ms(during.medianMs)} ms | ${during.failed} of ${during.calls} |`;
}

export const HEADING = "| Attack | Listener | As | Server | RSS | p99 of Get | median | failed |\n| --- | --- | --- | --- | --- | --- | --- | --- |";
