/** Failures as people read them: what could not be done, every fault with its place, and what to try next. */
import { ClientError, Status } from "nice-grpc-common";
import { RichClientError } from "nice-grpc-error-details";
import type { BadRequest, ErrorInfo, PreconditionFailure } from "nice-grpc-error-details";
import { camelField, camelWord } from "../lib/manifest/names.ts";
import type { Server } from "./context.ts";
import { visible } from "./visible.ts";

/** The command was called wrongly: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The command was understood and what it was to bring about did not come about: exit code 1. */
export class CommandFailed extends Error {
  override name = "CommandFailed";
}

/** Turns a field path of the server into a place in the user's file. */
export type Locate = (fieldPath: string) => string;

/** An answer of the server to what came from a file. */
export class RefusedManifest extends Error {
  override name = "RefusedManifest";
  readonly error: ClientError;
  readonly object: string;
  readonly locate: Locate;
  constructor(error: ClientError, object: string, locate: Locate) {
    super(error.message, { cause: error });
    this.error = error;
    this.object = object;
    this.locate = locate;
  }
}

const HINTS: Partial<Record<string, string>> = {
  STALE_RESOURCE_VERSION: "read it again, or leave metadata.resourceVersion out to take whatever stands there",
  UNAUTHENTICATED: "`drover login SERVER` makes you known to a server; DROVER_TOKEN or --token-file do for one call",
  PERMISSION_DENIED: "`drover auth whoami` shows who you are, `drover auth can-i VERB KIND` what you may do",
  ALREADY_MIGRATING: "`drover get vmim` shows the migration, `drover migration cancel` ends it",
};

export function exitCodeOf(error: unknown): 1 | 2 {
  return error instanceof UsageError ? 2 : 1;
}

/** Lines for standard error. `server` is where the call went, and how that address was chosen. */
export function describeFailure(error: unknown, server: Server | undefined): string[] {
  if (error instanceof RefusedManifest) return describeRefusal(error.error, server, { subject: `${error.object}: `, locate: error.locate });
  if (error instanceof ClientError) return describeRefusal(error, server, { subject: "", locate: () => "" });
  if (error instanceof Error) return [`error: ${error.message}`];
  return [`error: ${String(error)}`];
}

type Where = { subject: string; locate: Locate };

function describeRefusal(error: ClientError, server: Server | undefined, { subject, locate }: Where): string[] {
  const { faults, preconditions, reason } = detailsOf(error);
  const head = `error: ${visible(subject)}${camelWord(Status[error.code] ?? "UNKNOWN")}: `;
  const lines = faults.map(({ field, description }) => `  ${locate(field)}${plainPath(field)}: ${description}`);
  lines.push(...preconditions.map(({ type, description }) => `  ${camelWord(type)}: ${description}`));
  const first = faults.length > 0 ? "the request was refused" : preconditions.length > 0 ? "the state forbids it" : error.details || "no reason was given";
  const hint = error.code === Status.UNAVAILABLE && server && reason === "" ? unreachableHint(server) : HINTS[reason];
  return [head + visible(first), ...lines.map(visible), ...(hint === undefined ? [] : [`hint: ${hint}`])];
}

const unreachableHint = ({ address, from }: Server) =>
  `the server at ${address} (from ${from}) cannot be reached: is drover-api-server running there?`;

/** The request's own field comes first in the server's path; in a manifest there is none, and names are in camelCase. */
function plainPath(field: string): string {
  const [, ...rest] = field.split(".");
  return camelField(rest.length > 0 ? rest.join(".") : field);
}

type Details = { faults: { field: string; description: string }[]; preconditions: { type: string; description: string }[]; reason: string };

export function detailsOf(error: ClientError): Details {
  const extra = error instanceof RichClientError ? error.extra : [];
  const bad = extra.find((detail): detail is BadRequest => detail.$type === "google.rpc.BadRequest");
  const failed = extra.find((detail): detail is PreconditionFailure => detail.$type === "google.rpc.PreconditionFailure");
  const info = extra.find((detail): detail is ErrorInfo => detail.$type === "google.rpc.ErrorInfo");
  return { faults: bad?.fieldViolations ?? [], preconditions: failed?.violations ?? [], reason: info?.reason ?? "" };
}
