/**
 * The public keys of an issuer, from a file or over https. Fetched when first needed, again when they are old, and when a
 * token names a key that is not among them; bounded in size, time and frequency, as what asks for it is not yet trusted.
 */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { createLocalJWKSet } from "jose";
import type { JSONWebKeySet } from "jose";
import { type Clock, deadline } from "../../lib/clock.ts";

const FETCH_TIMEOUT_MS = 5_000;
const DOCUMENT_BYTES_MAX = 256 * 1024;
const FRESH_MS = 10 * 60_000;
/** Between two attempts, whatever asks. */
const COOLDOWN_MS = 10_000;

export type Keys = ReturnType<typeof createLocalJWKSet>;
export type KeysSource = { issuer: string; jwks?: string | undefined };

/** The keys cannot be had at the moment: nothing is wrong with the token. */
export class KeysUnavailable extends Error {
  override name = "KeysUnavailable";
}

/** Nothing on the way may change the keys: https, or this very host. */
export function isTrustworthy(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const loopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  return protocol === "https:" || (protocol === "http:" && loopback);
}

export class IssuerKeys {
  readonly #source: KeysSource;
  readonly #clock: Clock;
  #keys: Keys | undefined;
  #text = "";
  #loadedMs = Number.NEGATIVE_INFINITY;
  #triedMs = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  #failure: unknown;
  /** Grows when the keys are not the same any more: what was verified with others has to be verified again. */
  generation = 0;

  constructor(source: KeysSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** The keys that there are; old ones do while newer ones are fetched. */
  async current(): Promise<Keys> {
    if (this.#age(this.#loadedMs) > FRESH_MS) {
      const loaded = this.#load();
      if (!this.#keys) await loaded;
    }
    if (!this.#keys) throw new KeysUnavailable(`The keys of ${this.#source.issuer} cannot be had`, { cause: this.#failure });
    return this.#keys;
  }

  /** For a token whose key is not among them: the issuer may have a new one. False when they are the same as before. */
  async renewed(): Promise<boolean> {
    const before = this.generation;
    await this.#load();
    return this.generation !== before;
  }

  #load(): Promise<void> {
    if (this.#loading) return this.#loading;
    if (this.#age(this.#triedMs) < COOLDOWN_MS) return Promise.resolve();
    this.#triedMs = this.#clock.monotonicMs();
    this.#loading = this.#fetched()
      .then((text) => this.#take(text))
      .catch((error: unknown) => void (this.#failure = error))
      .finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  #take(text: string): void {
    this.#loadedMs = this.#clock.monotonicMs();
    if (text === this.#text) return;
    this.#keys = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
    this.#text = text;
    this.generation += 1;
  }

  async #fetched(): Promise<string> {
    const { jwks } = this.#source;
    if (jwks?.startsWith("/")) return readFile(jwks, "utf8");
    using limit = deadline(this.#clock, FETCH_TIMEOUT_MS);
    return await download(jwks ?? (await discovered(this.#source.issuer, limit.signal)), limit.signal);
  }

  #age(sinceMs: number): number {
    return this.#clock.monotonicMs() - sinceMs;
  }
}

async function discovered(issuer: string, signal: AbortSignal): Promise<string> {
  const text = await download(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, signal);
  const { issuer: named, jwks_uri: uri } = JSON.parse(text) as Record<string, unknown>;
  if (named !== issuer) throw new Error(`The discovery document is of another issuer: expected ${issuer}, found ${String(named)}`);
  if (typeof uri !== "string" || !isTrustworthy(uri)) throw new Error("The discovery document names no https URL of keys");
  return uri;
}

async function download(url: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(url, { signal, redirect: "error", headers: { accept: "application/json" } });
  if (!answer.ok || !answer.body) throw new Error(`${url} answered ${answer.status}`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of answer.body) {
    bytes += part.length;
    if (bytes > DOCUMENT_BYTES_MAX) throw new Error(`${url} answered more than ${DOCUMENT_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
