/** What roles and bindings allow. Allow-only: nothing here takes a right away. Pure. */
import type { Caller } from "../objects.ts";
import type { Question, Scopes } from "./authorizer.ts";

export type Rule = { verbs: readonly string[]; kinds: readonly string[]; names: readonly string[] };

/** A role and where it holds; no namespace is everywhere. */
export type Grant = { role: string; namespaces: readonly string[] };

export type Policy = {
  roles: ReadonlyMap<string, readonly Rule[]>;
  /** By "user/<name>", "group/<name>" and "token/<name>". */
  bound: ReadonlyMap<string, readonly Grant[]>;
  /** What service tokens give by themselves, by name; a token that is not here gives nothing, whatever is bound to it. */
  tokens: ReadonlyMap<string, Grant>;
};

type Callers = Pick<Caller, "subject" | "groups" | "grants">;

const ANY = "*";
const TOKEN = "token/";

export function grantsOf({ bound, tokens }: Policy, { subject, groups = [], grants = [] }: Callers): Grant[] {
  const own = subject.startsWith(TOKEN) ? tokens.get(subject.slice(TOKEN.length)) : undefined;
  if (subject.startsWith(TOKEN) && own === undefined) return [];
  const keys = [subject, ...groups.map((group) => `group/${group}`)];
  return [...grants, ...(own ? [own] : []), ...keys.flatMap((key) => bound.get(key) ?? [])];
}

/** The grant by which the caller may do it; undefined when there is none. */
export function allows(policy: Policy, caller: Callers, question: Question): Grant | undefined {
  return grantsOf(policy, caller).find(
    (grant) => within(grant, question.namespace) && rulesOf(policy, grant).some((rule) => matches(rule, question)),
  );
}

/** Where the caller may see all objects of a kind, in order. A rule with names shows no collection. */
export function scopesOf(policy: Policy, caller: Callers, { verb, kind }: Pick<Question, "verb" | "kind">): Scopes {
  const giving = grantsOf(policy, caller).filter((grant) => rulesOf(policy, grant).some((rule) => matches(rule, { verb, kind, name: "" })));
  if (giving.some(({ namespaces }) => namespaces.length === 0)) return "all";
  return [...new Set(giving.flatMap(({ namespaces }) => namespaces))].sort();
}

/** The first thing that the rules would give and the caller has not; undefined when it has all of it. */
export function lacks(policy: Policy, caller: Callers, { rules, namespaces }: { rules: readonly Rule[]; namespaces: readonly string[] }): Question | undefined {
  for (const namespace of namespaces.length === 0 ? [""] : namespaces) {
    for (const { verbs, kinds, names } of rules) {
      for (const verb of verbs) {
        for (const kind of kinds) {
          for (const name of names.length === 0 ? [""] : names) {
            const question = { verb, kind, namespace, name };
            if (!allows(policy, caller, question)) return question;
          }
        }
      }
    }
  }
  return undefined;
}

const rulesOf = ({ roles }: Policy, { role }: Grant): readonly Rule[] => roles.get(role) ?? [];

/** All namespaces, and what has none, are only within a grant that holds everywhere. */
const within = ({ namespaces }: Grant, namespace: string) => namespaces.length === 0 || namespaces.includes(namespace);

/** A question for "*" is only answered by a rule that says "*". */
function matches({ verbs, kinds, names }: Rule, { verb, kind, name }: Omit<Question, "namespace">): boolean {
  return holds(verbs, verb) && holds(kinds, kind) && (names.length === 0 || names.includes(name));
}

const holds = (allowed: readonly string[], asked: string) => allowed.includes(ANY) || allowed.includes(asked);
