/**
 * Keeps the node's certificates fresh while the agent runs: asks for new ones, with new keys, at half of their life, and
 * takes up those that somebody else has put there. Whatever fails, machines are left alone.
 */
import type { NodeCertificates } from "../../gen/drover/agent/v1/agent.ts";
import { backoffMs } from "../../lib/backoff.ts";
import type { Backoff } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { renewalInMs } from "../../lib/pki/lifetime.ts";
import type { Random } from "../../lib/random.ts";
import { obtain } from "./certificates.ts";
import type { Requests } from "./certificates.ts";
import { keepIdentity, readIdentity } from "./identity-files.ts";
import type { KeptIdentity } from "./identity-files.ts";

export type UpkeepOptions = {
  stateDirectory: string;
  renew: (requests: Requests) => Promise<NodeCertificates | undefined>;
  /** Told of every identity but the first. Whatever was opened with the one before counts no longer than that lives. */
  changed: (identity: KeptIdentity) => void;
  clock: Clock;
  random: Random;
  log: Logger;
};

const AGAIN: Backoff = { firstMs: 1_000, maxMs: 300_000, factor: 2 };
/** The wall's clock may jump, a host may sleep, and an operator may put another identity there. */
const LOOK_AGAIN_MS = 60_000;
const PAUSE_MS = 1_000;
const ALARM_SHARE = 0.25;

export type Standing = "good" | "ending" | "over";

/** How a life stands (pure). */
export function standingOf({ notBefore, notAfter }: KeptIdentity["life"], now: Date): Standing {
  const leftMs = notAfter.getTime() - now.getTime();
  if (leftMs <= 0) return "over";
  return leftMs < ALARM_SHARE * (notAfter.getTime() - notBefore.getTime()) ? "ending" : "good";
}

export class IdentityUpkeep {
  readonly #options: UpkeepOptions;
  #current: KeptIdentity;
  #dueMs: number;
  #failures = 0;
  #said: Standing = "good";

  /** Throws NoIdentity. */
  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#current = readIdentity(options.stateDirectory);
    this.#dueMs = this.#due();
  }

  get current(): KeptIdentity {
    return this.#current;
  }

  /** Takes up what lies on the disk. */
  look(): void {
    const { stateDirectory, log, changed } = this.#options;
    try {
      const found = readIdentity(stateDirectory);
      if (found.version === this.#current.version) return;
      this.#current = found;
    } catch (error) {
      log.error({ error }, "the node's identity cannot be read: the agent goes on with what it has open");
      return;
    }
    this.#dueMs = this.#due();
    this.#failures = 0;
    this.#said = "good";
    const { identity, life } = this.#current;
    log.info({ incarnation: identity.incarnation, until: life.notAfter }, "the node has new certificates");
    changed(this.#current);
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    while (!signal.aborted) {
      this.look();
      this.#warn();
      const leftMs = this.#dueMs - clock.now().getTime();
      await delay(clock, Math.min(Math.max(PAUSE_MS, leftMs), LOOK_AGAIN_MS), signal).catch(() => undefined);
      if (signal.aborted || clock.now().getTime() < this.#dueMs) continue;
      try {
        await this.#renew();
      } catch (error) {
        if (signal.aborted) return;
        this.#failures += 1;
        this.#dueMs = clock.now().getTime() + backoffMs(AGAIN, this.#failures, random.fraction());
        log.warn({ error, failures: this.#failures }, "the node's certificates could not be renewed; trying again");
      }
    }
  }

  async #renew(): Promise<void> {
    const { stateDirectory, renew } = this.#options;
    const before = this.#current;
    const { pem } = await obtain(renew);
    // Meanwhile an operator may have given the host another identity.
    this.look();
    if (this.#current !== before) return;
    keepIdentity(stateDirectory, pem);
    this.look();
  }

  #due(): number {
    const { clock, random } = this.#options;
    const now = clock.now();
    return now.getTime() + renewalInMs(this.#current.life, now, random);
  }

  /** Once for each step. */
  #warn(): void {
    const { clock, log } = this.#options;
    const { life, identity } = this.#current;
    const standing = standingOf(life, clock.now());
    if (standing === this.#said) return;
    this.#said = standing;
    if (standing === "over") {
      log.error({ ended: life.notAfter, nodeUid: identity.uid },
        "the node's certificate has ended; machines are left alone. An operator must make a token, and join this host with it: drover node token create NODE");
    } else log.error({ until: life.notAfter, nodeUid: identity.uid }, "the node's certificate ends soon and could not be renewed");
  }
}
