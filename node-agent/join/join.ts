/** How this host becomes a node: by a token, once. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ClientError, Status } from "nice-grpc";
import type { NodeCertificates } from "../../gen/drover/agent/v1/agent.ts";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { connect } from "../../lib/client.ts";
import { deadline } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { parseJoinToken } from "../../lib/pki/join-token.ts";
import { pinnedAuthority, PinNotFound } from "../../lib/pki/pinned-authority.ts";
import { writeKept } from "../kept-file.ts";
import { obtain } from "./certificates.ts";
import type { Requests } from "./certificates.ts";
import { keepIdentity, NoIdentity, readIdentity } from "./identity-files.ts";
import type { IdentityPem, KeptIdentity } from "./identity-files.ts";

const ENROL_TIMEOUT_MS = 15_000;

/** The host is as it was; the message says what to do. */
export class CannotJoin extends Error {
  override name = "CannotJoin";
}

export type JoinOptions = {
  /** "host:port" of the server's listener for enrolment. */
  server: string;
  token: string;
  stateDirectory: string;
  /** Give up the identity that the host has. */
  force: boolean;
  clock: Clock;
};

/** The host's identity is on the disk when it resolves. Throws CannotJoin. */
export async function joinFleet({ server, token, stateDirectory, force, clock }: JoinOptions): Promise<NodeCertificates> {
  const parsed = parseJoinToken(token);
  if (!parsed) throw new CannotJoin("This is no token: it begins with dj1. and is one word, as `drover node token create` prints it");
  // What can be wrong on this host is found before the token is used up.
  if (!force) refuseToReplace(stateDirectory, clock.now());
  const authority = await pinnedAuthority(server, parsed.pin).catch((cause: unknown) => {
    throw unreached(server, cause);
  });
  using ca = pinnedFile(stateDirectory, authority);
  const { pem, certificates } = await obtain((requests) => enrol({ server, token, ca: ca.path, clock }, requests));
  keep(stateDirectory, pem);
  return certificates;
}

function refuseToReplace(stateDirectory: string, now: Date): void {
  const kept = present(stateDirectory);
  if (!kept || kept.life.notAfter <= now) return;
  throw new CannotJoin(
    `This host is node ${kept.identity.uid} already, by a certificate until ${kept.life.notAfter.toISOString()}, in ${stateDirectory}: give that up with --force`,
  );
}

/** What is not whole is no identity. */
function present(stateDirectory: string): KeptIdentity | undefined {
  try {
    return readIdentity(stateDirectory);
  } catch (error) {
    if (error instanceof NoIdentity) return undefined;
    throw error;
  }
}

/** The authority for the time of the call. Proves as well that an identity can be kept here. */
function pinnedFile(stateDirectory: string, authority: string): { path: string } & Disposable {
  const path = join(stateDirectory, "joining-ca.pem");
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o711 });
    writeKept(path, authority);
  } catch (cause) {
    throw new CannotJoin(`Cannot keep an identity in ${stateDirectory}: ${wordsOf(cause)}. The token is not used`, { cause });
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { force: true }) };
}

function keep(stateDirectory: string, pem: IdentityPem): void {
  try {
    keepIdentity(stateDirectory, pem);
  } catch (cause) {
    throw new CannotJoin(`Cannot keep the identity in ${stateDirectory}: ${wordsOf(cause)}. The token is used: make another one`, { cause });
  }
}

async function enrol(
  { server, token, ca, clock }: Pick<JoinOptions, "server" | "token" | "clock"> & { ca: string },
  requests: Requests,
): Promise<NodeCertificates | undefined> {
  using connection = connect({ server, tls: { ca } });
  using limit = deadline(clock, ENROL_TIMEOUT_MS);
  try {
    const { certificates } = await connection.client(EnrolmentServiceDefinition).enroll({ token, ...requests }, { signal: limit.signal });
    return certificates;
  } catch (cause) {
    throw refused(server, cause);
  }
}

function unreached(server: string, cause: unknown): CannotJoin {
  if (cause instanceof PinNotFound) {
    return new CannotJoin(`${server} is not the server that the token is for: it does not show the authority that the token pins. The token is not used`, { cause });
  }
  return new CannotJoin(`Cannot reach the enrolment listener at ${server}: ${wordsOf(cause)}. The token is not used`, { cause });
}

const REFUSALS: Partial<Record<Status, string>> = {
  [Status.UNAUTHENTICATED]: "The server refuses the token: it is expired, used, replaced or was never made. Make another one: drover node token create NODE",
  [Status.RESOURCE_EXHAUSTED]: "Too many tokens from this address were refused: wait a minute. The token is not used",
  [Status.UNIMPLEMENTED]: "This is not the enrolment listener, which has a port of its own (usually 7445). The token is not used",
};

function refused(server: string, cause: unknown): CannotJoin {
  const known = cause instanceof ClientError ? REFUSALS[cause.code] : undefined;
  const words = cause instanceof ClientError ? cause.details : wordsOf(cause);
  return new CannotJoin(known ?? `${server} did not answer as it should: ${words}. Nobody knows whether the token is used: make another one`, { cause });
}

/** Node's error for several addresses that failed says nothing itself. */
function wordsOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}
