/** One attack on a victim: what the client that behaves sees before and during it, and what the server has come to. */
import { once } from "node:events";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { delay, systemClock } from "../../../lib/clock.ts";
import { waitFor } from "../../lab/process.ts";
import type { AttackName } from "./attacks.ts";
import type { Listener, Measured, Victim } from "./victim.ts";

/** Attackers call from here, each from an address without a past; the client that behaves does not. */
let attackers = 1;
const newAddress = () => `127.0.0.${(attackers += 1)}`;
const AFTER_MS = 250;
/** An attacker that gets little of the processor needs its time to give offence. */
export const CUT_WITHIN_MS = 30_000;

export type Siege = {
  attack: AttackName;
  on: Listener;
  /** With a certificate of a user, or as nobody. */
  as: "nobody" | "user";
  /** One of these reasons has to be seen before the siege ends. */
  cutFor?: readonly string[] | undefined;
};
/** `wasCut`: for one of the reasons named; true where none is. */
export type Outcome = Siege & { alive: boolean; wasCut: boolean; before: Measured; during: Measured };

/**
 * For as many seconds from when the attacker is at it, which may take its time to begin where others want the processor, and
 * until it was cut for what it has to be. `before` is measured by the caller, on the same server.
 */
export async function besiege(victim: Victim, siege: Siege, { before, seconds }: { before: Measured; seconds: number }): Promise<Outcome> {
  const { cert, key } = victim.bad;
  const target = { host: "127.0.0.1", port: victim.ports[siege.on], from: newAddress(), ...(siege.as === "user" && { cert, key }) };
  const args = [join(import.meta.dirname, "main.ts"), siege.attack, JSON.stringify(target), String(seconds + CUT_WITHIN_MS / 1000)];
  const attacker = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(attacker, "exit");
  const isCut = () => !siege.cutFor || victim.program.lines().some((line) => siege.cutFor!.some((reason) => isCutOf(line, target.from, reason)));
  const over = new AbortController();
  try {
    await once(attacker.stdout, "data");
    const measured = victim.measure(over.signal);
    await delay(systemClock, seconds * 1000);
    const wasCut = await waitFor("the attacker to be cut", () => isCut() || !victim.program.isAlive() || undefined, { timeoutMs: CUT_WITHIN_MS }).then(isCut, isCut);
    over.abort();
    return { ...siege, alive: victim.program.isAlive(), wasCut, before, during: await measured };
  } finally {
    over.abort();
    attacker.kill("SIGKILL");
    await ended;
    await delay(systemClock, AFTER_MS);
  }
}

function isCutOf(line: string, peer: string, reason: string): boolean {
  return line.includes("a connection was cut") && line.includes(`"peer":"${peer}"`) && line.includes(`"reason":"${reason}"`);
}

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed();
const ms = (value: number) => value.toFixed(1);

/** A line of the table. */
export function described({ attack, on, as, alive, before, during }: Outcome): string {
  return `| ${attack} | ${on} | ${as} | ${alive ? "up" : "DOWN"} | ${mib(before.rssBytes)} → ${mib(during.rssBytes)} MiB (${(during.rssBytes / before.rssBytes).toFixed(2)}×) | ` +
    `${ms(before.p99Ms)} → ${ms(during.p99Ms)} ms (${(during.p99Ms / before.p99Ms).toFixed(2)}×) | ${ms(before.medianMs)} → ${ms(during.medianMs)} ms | ${during.failed} of ${during.calls} |`;
}

export const HEADING = "| Attack | Listener | As | Server | RSS | p99 of Get | median | failed |\n| --- | --- | --- | --- | --- | --- | --- | --- |";
