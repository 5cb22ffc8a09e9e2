/**
 * What the store costs over the database under it: durable commits through the port, against single inserts by the same
 * node:sqlite in the same run. Rounds of both are interleaved, so that a busy disk meets both alike.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openStore } from "../api-server/store/open.ts";
import type { Store } from "../api-server/store/store.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { systemRandom } from "../lib/random.ts";

/** `ratio` is to the baseline: above 1 is faster for a rate. */
export type Row = { name: string; value: number; unit: string; ratio?: number };

const CLIENTS = [1, 16, 64];
const ROUNDS = 5;
const ROUND_MS = 400;
const WATCHERS = 200;
const FAN_OUTS = 100;
const VALUE = new Uint8Array(2048).fill(0x61);

export async function benchStore(clock: Clock = systemClock): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "drover-bench-"));
  try {
    const onFatal = (error: Error) => {
      throw error;
    };
    await using store = await openStore(`sqlite:${directory}/store.db`, { clock, random: systemRandom, create: true, onFatal });
    using raw = openRaw(join(directory, "raw.db"));
    return [...(await commits(store, raw, clock)), await gets(store, clock), ...(await fanOut(store, clock))];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

type Raw = { insert: () => void } & Disposable;

function openRaw(path: string): Raw {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE log (id INTEGER PRIMARY KEY, key TEXT, value BLOB)");
  const insert = database.prepare("INSERT INTO log (key, value) VALUES (?, ?)");
  let count = 0;
  return { insert: () => void insert.run(`vm/${count++}`, VALUE), [Symbol.dispose]: () => database.close() };
}

async function commits(store: Store, raw: Raw, clock: Clock): Promise<Row[]> {
  const rawRates: number[] = [];
  const rates = new Map<number, number[]>(CLIENTS.map((clients) => [clients, []]));
  const latencies = new Map<number, number[]>(CLIENTS.map((clients) => [clients, []]));
  for (let round = 0; round < ROUNDS; round++) {
    rawRates.push(rawRate(raw, clock));
    for (const clients of CLIENTS) {
      const run = await commitRate({ store, clients, name: `${round}-${clients}` }, clock);
      rates.get(clients)!.push(run.rate);
      latencies.get(clients)!.push(...run.latenciesMs);
    }
  }
  const baseline = at(rawRates, 0.5);
  return [
    { name: "raw node:sqlite, one insert for each fsync", value: baseline, unit: "/s", ratio: 1 },
    ...CLIENTS.flatMap((clients): Row[] => [
      { name: `durable commits, ${clients} clients`, value: at(rates.get(clients)!, 0.5), unit: "/s", ratio: at(rates.get(clients)!, 0.5) / baseline },
      { name: `durable commits, ${clients} clients, p99`, value: at(latencies.get(clients)!, 0.99), unit: "ms" },
    ]),
  ];
}

function rawRate(raw: Raw, clock: Clock): number {
  const begin = clock.monotonicMs();
  let count = 0;
  while (clock.monotonicMs() - begin < ROUND_MS) {
    raw.insert();
    count++;
  }
  return (count * 1000) / (clock.monotonicMs() - begin);
}

type Load = { store: Store; clients: number; name: string };

async function commitRate({ store, clients, name }: Load, clock: Clock): Promise<{ rate: number; latenciesMs: number[] }> {
  const begin = clock.monotonicMs();
  const latenciesMs: number[] = [];
  const client = async (number: number) => {
    for (let index = 0; clock.monotonicMs() - begin < ROUND_MS; index++) {
      const asked = clock.monotonicMs();
      await store.commit({ key: `vm/${name}-${number}-${index}`, expected: null, value: VALUE });
      latenciesMs.push(clock.monotonicMs() - asked);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return { rate: (latenciesMs.length * 1000) / (clock.monotonicMs() - begin), latenciesMs };
}

async function gets(store: Store, clock: Clock): Promise<Row> {
  const { items } = await store.list("vm/", { limit: 1000 });
  const begin = clock.monotonicMs();
  let count = 0;
  const client = async (number: number) => {
    for (let index = number; clock.monotonicMs() - begin < ROUND_MS; index += 7) {
      await store.get(items[index % items.length]!.key);
      count++;
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, number) => client(number)));
  return { name: "gets, 16 clients", value: (count * 1000) / (clock.monotonicMs() - begin), unit: "/s" };
}

/** From the call of a commit to the last of all watchers that has it. */
async function fanOut(store: Store, clock: Clock): Promise<Row[]> {
  const stop = new AbortController();
  const head = await store.head();
  let missing = 0;
  let complete = (): void => undefined;
  const watchers = Array.from({ length: WATCHERS }, async () => {
    for await (const message of store.watch("node/", head, stop.signal)) {
      if (message.type === "put" && --missing === 0) complete();
    }
  });
  const timesMs: number[] = [];
  for (let index = 0; index < FAN_OUTS; index++) {
    missing = WATCHERS;
    const all = new Promise<void>((resolve) => (complete = resolve));
    const begin = clock.monotonicMs();
    await store.commit({ key: `node/${index}`, expected: null, value: VALUE });
    await all;
    timesMs.push(clock.monotonicMs() - begin);
  }
  stop.abort(new Error("done"));
  await Promise.allSettled(watchers);
  return [0.5, 0.99].map((part) => ({ name: `one write to ${WATCHERS} watchers, p${part * 100}`, value: at(timesMs, part), unit: "ms" }));
}

function at(values: number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

if (import.meta.main) {
  for (const { name, value, unit, ratio } of await benchStore()) {
    console.log(`${name.padEnd(48)} ${value.toFixed(value < 100 ? 2 : 0).padStart(10)} ${unit.padEnd(3)} ${ratio === undefined ? "" : `${ratio.toFixed(2)}×`}`);
  }
}
