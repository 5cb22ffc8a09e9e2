/**
 * RBAC: roles, bindings and service tokens in memory, so that no call waits for the store to be let through. Whoever
 * writes one of them waits until it counts here.
 */
import { SubjectKind } from "../../gen/drover/v1/role_binding.ts";
import type { RoleBinding } from "../../gen/drover/v1/role_binding.ts";
import type { Role } from "../../gen/drover/v1/role.ts";
import type { ServiceToken } from "../../gen/drover/v1/auth.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { roleBindings } from "../kinds/role-binding.ts";
import { roles } from "../kinds/role.ts";
import { serviceTokens } from "../kinds/service-token.ts";
import type { Caller, Objects, Reads } from "../objects.ts";
import type { Authorizer, Decision, Question, Scopes } from "./authorizer.ts";
import { BUILT_IN_ROLES } from "./built-in-roles.ts";
import { recordBuiltInRoles } from "./seed.ts";
import { Mirror } from "./mirror.ts";
import { allows, type Grant, lacks, type Policy, type Rule, scopesOf } from "./policy.ts";

export type RightsOptions = { objects: Pick<Reads, "watch">; clock: Clock; log: Logger };

/** Administrators by the socket and the control plane are not asked about. */
const isUnbound = ({ role }: Caller) => role === "admin" || role === "control-plane";

export class Rights implements Authorizer {
  readonly #roles: Mirror<Role>;
  readonly #bindings: Mirror<RoleBinding>;
  readonly #tokens: Mirror<ServiceToken>;
  readonly #listeners = new Set<() => void>();
  #policy: Policy = { roles: BUILT_IN_ROLES, bound: new Map(), tokens: new Map() };

  constructor({ objects, clock, log }: RightsOptions) {
    const changed = () => this.#renew();
    this.#roles = new Mirror({ kind: roles, objects, clock, log, changed });
    this.#bindings = new Mirror({ kind: roleBindings, objects, clock, log, changed });
    this.#tokens = new Mirror({ kind: serviceTokens, objects, clock, log, changed });
  }

  /** Ends with the signal. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#roles.run(signal), this.#bindings.run(signal), this.#tokens.run(signal)]);
  }

  /** Resolves when all that was recorded before counts. Until then nobody but administrators has rights. */
  async ready(): Promise<void> {
    await Promise.all([this.#roles.reached(""), this.#bindings.reached(""), this.#tokens.reached("")]);
  }

  /** Resolves when a commit of this kind counts in every answer. */
  counts(kind: "role" | "binding" | "token", revision: string): Promise<void> {
    return { role: this.#roles, binding: this.#bindings, token: this.#tokens }[kind].reached(revision);
  }

  decide(caller: Caller, question: Question): Promise<Decision> {
    if (caller.role === "node") return Promise.resolve({ allowed: false, reason: "Nodes have no rights here" });
    if (isUnbound(caller)) return Promise.resolve({ allowed: true, reason: `"${caller.subject}" may do everything` });
    const grant = allows(this.#policy, caller, question);
    return Promise.resolve(grant ? { allowed: true, reason: allowedBy(grant) } : { allowed: false, reason: "No role of the caller allows it" });
  }

  scopes(caller: Caller, question: Pick<Question, "verb" | "kind">): Promise<Scopes> {
    return Promise.resolve(isUnbound(caller) ? "all" : scopesOf(this.#policy, caller, question));
  }

  /** What the caller would give without having it itself. */
  lacks(caller: Caller, given: { rules: readonly Rule[]; namespaces: readonly string[] }): Question | undefined {
    return isUnbound(caller) ? undefined : lacks(this.#policy, caller, given);
  }

  /** What a role allows; undefined when there is none of the name. */
  rulesOf(role: string): readonly Rule[] | undefined {
    return this.#policy.roles.get(role);
  }

  /** The record of a service token, digest included. */
  token(name: string): ServiceToken | undefined {
    return this.#tokens.objects.get(name);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #renew(): void {
    this.#policy = policyOf({ roles: this.#roles.objects, bindings: this.#bindings.objects, tokens: this.#tokens.objects });
    for (const listener of this.#listeners) listener();
  }
}

/** Rights over these objects, ready to answer; `run` ends with the signal. */
export async function openRights({ signal, ...options }: RightsOptions & { objects: Objects; signal: AbortSignal }): Promise<{ rights: Rights; run: Promise<void> }> {
  const caller = { subject: "api-server", role: "control-plane" } as const;
  await recordBuiltInRoles(options.objects, { caller, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal });
  const rights = new Rights(options);
  const run = rights.run(signal);
  await rights.ready();
  return { rights, run };
}

type Records = {
  roles: ReadonlyMap<string, Role>;
  bindings: ReadonlyMap<string, RoleBinding>;
  tokens: ReadonlyMap<string, ServiceToken>;
};

const SUBJECTS: Partial<Record<SubjectKind, string>> = {
  [SubjectKind.USER]: "user",
  [SubjectKind.GROUP]: "group",
  [SubjectKind.SERVICE_TOKEN]: "token",
};

/** The records as a policy. Built-in roles are what this version says. */
export function policyOf({ roles, bindings, tokens }: Records): Policy {
  const bound = new Map<string, Grant[]>();
  for (const { spec } of bindings.values()) {
    const grant = { role: spec?.role ?? "", namespaces: spec?.namespaces ?? [] };
    for (const { kind, name } of spec?.subjects ?? []) {
      const key = `${SUBJECTS[kind] ?? "unknown"}/${name}`;
      bound.set(key, [...(bound.get(key) ?? []), grant]);
    }
  }
  const written = [...roles].map(([name, { spec }]): [string, readonly Rule[]] => [name, spec?.rules ?? []]);
  const given = [...tokens].map(([name, { spec }]): [string, Grant] => [name, { role: spec?.role ?? "", namespaces: spec?.namespaces ?? [] }]);
  return { roles: new Map([...written, ...BUILT_IN_ROLES]), bound, tokens: new Map(given) };
}

const allowedBy = ({ role, namespaces }: Grant) => `The role "${role}" allows it${namespaces.length === 0 ? "" : ` in ${namespaces.join(", ")}`}`;
