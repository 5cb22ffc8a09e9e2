/**
 * The process of one door or one passage. The agent starts it in a session of its own and hands it its grant on standard
 * input; from then on it needs nobody, and ends by itself when its migration is over. It may be started before there is a
 * grant, so that a migration need not wait for more than that.
 */
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { json } from "node:stream/consumers";
import { systemClock } from "../../lib/clock.ts";
import { writeKept } from "../kept-file.ts";
import type { DoorGrant, DoorWord, FirstWord, Grant, PassageGrant, Standing } from "./grant.ts";
import { startTicksOf } from "./process-identity.ts";
import { digestOf } from "./standing.ts";

/** Somebody who knocks all day shall not fill a log. */
const REFUSALS_MAX = 32;

const clock = systemClock;

/** A passage reads no XML, whose parser is a third of what a door loads. */
const programs = { door: () => import("./door.ts"), passage: () => import("./passage.ts") };

/** Everything that is made here is for root alone. */
process.umask(0o077);
// Whoever reads the agent's log may be gone before the migration is over.
process.stderr.on("error", () => undefined);

// Loaded while the grant is on its way; who is kept as a spare is not told what it will be.
const [expected] = process.argv.slice(2);
if (expected !== "passage") await programs.door();
if (expected !== "door") await programs.passage();

const grant = await grantOrEnd();
const remove = (...paths: string[]) => paths.forEach((path) => rmSync(path, { force: true }));

try {
  await (grant.kind === "door" ? door(grant) : passage(grant));
} catch (error) {
  sayFirst({ failed: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}

/** An agent that is gone, or has thought better of it, gives none. */
async function grantOrEnd(): Promise<Grant> {
  try {
    return (await json(process.stdin)) as Grant;
  } catch {
    return process.exit(0);
  }
}

async function door(grant: DoorGrant): Promise<void> {
  const { stateFile, controlSocket } = grant;
  const words: DoorWord[] = [];
  const listeners = new Set<Socket>();
  remove(controlSocket);
  const { Door } = await programs.door();
  const opened = await Door.open(grant, clock, {
    refused(refused) {
      if (words.length >= REFUSALS_MAX) return;
      words.push({ refused });
      log("refused", refused);
      for (const listener of listeners) listener.write(`${JSON.stringify({ refused })}\n`);
    },
    ended() {
      log("closed", {});
      remove(stateFile, controlSocket);
      process.exit(0);
    },
  });
  const control = createServer((socket) => {
    listeners.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => listeners.delete(socket)).resume();
    for (const word of words) socket.write(`${JSON.stringify(word)}\n`);
  });
  await new Promise<void>((resolve, reject) => control.once("error", reject).listen(controlSocket, resolve));
  process.on("SIGTERM", () => opened.close());
  stand(grant, opened.address);
}

async function passage(grant: PassageGrant): Promise<void> {
  const { stateFile, socket } = grant;
  remove(socket);
  const { openPassage } = await programs.passage();
  const opened = await openPassage(grant, clock, () => {
    remove(stateFile, socket);
    process.exit(0);
  });
  process.on("SIGTERM", () => opened.close());
  stand(grant, socket);
}

/** On disk before the agent is told, so that its successor finds it as well. */
function stand(grant: Grant, address: string): void {
  const standing: Standing = { pid: process.pid, startTicks: startTicksOf(process.pid) ?? "", address, grantDigest: digestOf(grant) };
  writeKept(grant.stateFile, JSON.stringify(standing));
  sayFirst({ ready: standing });
  log("open", { address });
}

/** The agent may be gone by now. */
function sayFirst(word: FirstWord): void {
  process.stdout.on("error", () => undefined);
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

function log(what: string, facts: object): void {
  const line = { level: "info", time: clock.now().toISOString(), program: `node-agent-${grant.kind}`, pid: process.pid, migrationUid: grant.migrationUid, msg: what, ...facts };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
