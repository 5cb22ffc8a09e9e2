/**
 * How many connections one address may have, and how fast it may open more. Whoever was cut off pays for it here, so that
 * coming back at once is no way around the limits of a connection.
 */
import { isIPv6 } from "node:net";
import type { Clock } from "../../lib/clock.ts";
import { Bucket, type Rate } from "./bucket.ts";

/** Beyond this many the ones without connections are forgotten, oldest first. */
const ADDRESSES_MAX = 8_192;

/** In connections, for the first offence; each further one costs twice as much, until all is paid for. */
const COST_OF_OFFENCE = 250;
/** The longest that an address is kept out for what it has done. */
const KEPT_OUT_S_MAX = 60;

type Known = { open: number; offences: number; pace: Bucket };

export type AddressLimits = { openMax: number; pace: Rate };

export class Addresses {
  readonly #clock: Clock;
  readonly #limits: AddressLimits;
  readonly #known = new Map<string, Known>();

  constructor(clock: Clock, limits: AddressLimits) {
    this.#clock = clock;
    this.#limits = { ...limits, pace: { ...limits.pace, debtMax: KEPT_OUT_S_MAX * limits.pace.perSecond } };
  }

  /** False when it may not have another connection now; else `leave` has to follow. */
  enter(address: string): boolean {
    const known = this.#of(address);
    if (known.open >= this.#limits.openMax || !known.pace.take()) return false;
    known.open += 1;
    return true;
  }

  leave(address: string): void {
    const key = networkOf(address);
    const known = this.#known.get(key);
    if (!known) return;
    known.open -= 1;
    if (known.open === 0 && known.pace.isFull) this.#known.delete(key);
  }

  charge(address: string, connections: number): void {
    this.#of(address).pace.charge(connections);
  }

  /** It was cut off. */
  offended(address: string): void {
    const known = this.#of(address);
    if (known.pace.isFull) known.offences = 0;
    known.pace.charge(COST_OF_OFFENCE * 2 ** known.offences);
    known.offences += 1;
  }

  #of(address: string): Known {
    const key = networkOf(address);
    const known = this.#known.get(key) ?? { open: 0, offences: 0, pace: new Bucket(this.#clock, this.#limits.pace) };
    this.#known.set(key, known);
    if (this.#known.size > ADDRESSES_MAX) this.#forget();
    return known;
  }

  #forget(): void {
    for (const [key, { open }] of this.#known) {
      if (open === 0) {
        this.#known.delete(key);
        return;
      }
    }
  }
}

/** An IPv6 host has a whole /64 to call from, so that counts as one address. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const bare = address.replace(/%.*$/, "");
  if (!isIPv6(bare)) return address;
  const [head = "", tail] = bare.split("::");
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  const all = [...groups, ...Array.from({ length: missing }, () => "0"), ...(tail ? tail.split(":") : [])];
  return all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":");
}
