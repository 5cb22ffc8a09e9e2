/** One call's part in the audit: who called, about what, and the entries that this makes. Never what was in the request. */
import type { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { questionOf, ROWS } from "../interceptors/roles.ts";
import type { CallTrail, Caller } from "../objects.ts";
import type { Act, Decision } from "../store/audit.ts";
import { Undecodable } from "../validate/undecodable.ts";
import { auditedAs } from "./classes.ts";

/** What a caller may write of its own into an entry. */
const [NAME_MAX, SUBJECT_MAX, REQUEST_ID_MAX, PATHS_MAX] = [253, 512, 128, 64];

export type Outcome = { decision: Decision; code: string; reason: string };

export class Trail implements CallTrail {
  readonly #clock: Clock;
  readonly #rpc: string;
  readonly #source: string;
  readonly #request: Record<string, unknown>;
  /** Absent until the caller is known. */
  caller: Caller | undefined;
  requestId = "";
  #recorded = false;

  constructor({ rpc, source, request, clock }: { rpc: string; source: string; request: unknown; clock: Clock }) {
    this.#rpc = rpc;
    this.#source = source;
    this.#request = request instanceof Undecodable ? {} : ((request ?? {}) as Record<string, unknown>);
    this.#clock = clock;
  }

  get auditedAs(): "mutation" | "act" | undefined {
    return auditedAs(this.#rpc, this.caller?.role);
  }

  /** Nothing is written of what went well: not by a change, as there was none, or it is no change. */
  get isUntold(): boolean {
    return !this.#recorded && this.auditedAs !== undefined && this.#request["validateOnly"] !== true;
  }

  /** Events beside something else are told by that. */
  change(kind: { name: string }, { namespace, name, uid }: ObjectMeta, before: string): Act | undefined {
    if (this.auditedAs === undefined || (kind.name === "Event" && !this.#rpc.includes(".EventService/"))) return undefined;
    const object = { kind: kind.name, namespace, name, uid };
    return { ...this.#act(object, { decision: "allowed", code: "OK", reason: "" }), before, paths: pathsOf(this.#request) };
  }

  recorded(): void {
    this.#recorded = true;
  }

  /** About what the request names, as far as it can be told. */
  told(outcome: Outcome): Act {
    this.#recorded = true;
    return this.#act({ ...targetOf(this.#rpc, this.#request), uid: "" }, outcome);
  }

  #act(object: Act["object"], outcome: Outcome): Act {
    const { subject = "anonymous", role = "" } = this.caller ?? {};
    return {
      atMs: this.#clock.now().getTime(), subject: subject.slice(0, SUBJECT_MAX), role, source: this.#source, rpc: this.#rpc, object,
      requestId: this.requestId.slice(0, REQUEST_ID_MAX), before: "", ...outcome, count: 1, paths: [],
    };
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value.slice(0, NAME_MAX) : "");

function targetOf(rpc: string, request: Record<string, unknown>): Omit<Act["object"], "uid"> {
  const row = ROWS.get(rpc);
  if (typeof row !== "object") return { kind: "", namespace: text(request["namespace"]), name: text(request["name"]) };
  const { kind, namespace, name } = questionOf(row, request);
  return { kind, namespace: text(namespace), name: text(name || request["user"]) };
}

function pathsOf({ updateMask }: Record<string, unknown>): string[] {
  return Array.isArray(updateMask) ? updateMask.filter((path) => typeof path === "string").slice(0, PATHS_MAX) : [];
}
