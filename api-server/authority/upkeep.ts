/**
 * What an authority needs done while the server runs: new certificates for the API server and the controller at half of
 * their life, and an alarm before the authority's own ends.
 */
import { backoffMs, RETRY } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { renewalInMs } from "../../lib/pki/lifetime.ts";
import type { Random } from "../../lib/random.ts";
import type { Authority } from "./authority.ts";
import type { Pair } from "./files.ts";

const DAY_MS = 86_400_000;
/** The wall's clock may jump and a host may sleep, so nobody waits for longer than this without looking again. */
const LOOK_AGAIN_MS = 3_600_000;
const ALARM_DAYS = [1, 7, 14];

export type UpkeepParts = {
  authority: Authority;
  /** Where clients find the server. */
  names: { names: readonly string[]; addresses: readonly string[] };
  clock: Clock;
  random: Random;
  log: Logger;
  /** Tells people that the authority itself ends. */
  alarm: (message: string) => Promise<void>;
};

/** Takes every new certificate of the server. */
type Renewed = { serverRenewed: (pair: Pair) => void };

/** The first certificates; they are ready when it resolves. */
export async function firstCertificates(parts: UpkeepParts): Promise<{ server: Pair; renewInMs: number }> {
  const { authority, names, random, clock } = parts;
  const server = await authority.keep("server", { identity: { kind: "api-server" }, ...names });
  await authority.keep("controller", { identity: { kind: "controller" } });
  return { server, renewInMs: renewalInMs(server.life, clock.now(), random) };
}

/** Renews until the signal aborts. What fails is tried again; the certificates before hold for the other half of their life. */
export async function keepRenewed(parts: UpkeepParts & Renewed, firstInMs: number, signal: AbortSignal): Promise<void> {
  const { clock, random, log, serverRenewed } = parts;
  let dueMs = clock.now().getTime() + firstInMs;
  for (let failures = 0; !signal.aborted; ) {
    const leftMs = failures > 0 ? backoffMs(RETRY, failures, random.fraction()) : dueMs - clock.now().getTime();
    await delay(clock, Math.min(Math.max(0, leftMs), LOOK_AGAIN_MS), signal).catch(() => undefined);
    if (signal.aborted || clock.now().getTime() < dueMs) continue;
    try {
      const { server, renewInMs } = await firstCertificates(parts);
      serverRenewed(server);
      dueMs = clock.now().getTime() + renewInMs;
      failures = 0;
      log.info({ renewInMs: Math.round(renewInMs) }, "the server's and the controller's certificates are renewed");
    } catch (error) {
      failures += 1;
      log.error({ error }, "cannot renew the server's and the controller's certificates");
    }
  }
}

/** The least number of days of the alarm's steps that the rest of a life is within; undefined before the first. Pure. */
export function alarmStep(notAfter: Date, now: Date): number | undefined {
  const leftDays = (notAfter.getTime() - now.getTime()) / DAY_MS;
  return ALARM_DAYS.find((days) => leftDays <= days);
}

/** Says so once at each step, and again after a restart. */
export async function watchExpiry({ authority, clock, log, alarm }: UpkeepParts, signal: AbortSignal): Promise<void> {
  for (let said: number | undefined; !signal.aborted; ) {
    const step = alarmStep(authority.notAfter, clock.now());
    if (step !== undefined && step !== said) {
      const message = `The authority's certificate ends on ${authority.notAfter.toISOString()}: put a new one in its place, or no node and no program can be renewed`;
      log.error({ notAfter: authority.notAfter, days: step }, "the authority's certificate ends soon");
      try {
        await alarm(message);
        said = step;
      } catch (error) {
        log.warn({ error }, "cannot record that the authority's certificate ends");
      }
    }
    await delay(clock, LOOK_AGAIN_MS, signal).catch(() => undefined);
  }
}
