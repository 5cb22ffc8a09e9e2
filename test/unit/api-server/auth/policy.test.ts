/** What roles allow, against an oracle that knows nothing of how it is looked up: every right written out, one by one. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { BUILT_IN_ROLES } from "../../../../api-server/auth/built-in-roles.ts";
import { allows, type Grant, lacks, type Policy, type Rule, scopesOf } from "../../../../api-server/auth/policy.ts";
import { VERBS_OF_KINDS } from "../../../../api-server/interceptors/roles.ts";

const VERBS = ["get", "list", "start", "delete"];
const KINDS = ["VirtualMachine", "Node", "Role"];
const NAMESPACES = ["a", "b", "c"];
const NAMES = ["x", "y"];

const some = (from: readonly string[], { minLength = 1, wild = true } = {}) => fc.uniqueArray(fc.constantFrom(...from, ...(wild ? ["*"] : [])), { minLength, maxLength: 3 });
const rule: fc.Arbitrary<Rule> = fc.record({ verbs: some(VERBS), kinds: some(KINDS), names: some(NAMES, { minLength: 0, wild: false }) });
const grant: fc.Arbitrary<Grant> = fc.record({ role: fc.constantFrom("r1", "r2", "gone"), namespaces: some(NAMESPACES, { minLength: 0, wild: false }) });
const SUBJECTS = ["user/alice", "user/bob", "group/ops", "group/dev", "token/ci", "token/old"];
const policy: fc.Arbitrary<Policy> = fc.record({
  roles: fc.record({ r1: fc.array(rule, { maxLength: 3 }), r2: fc.array(rule, { maxLength: 3 }) }).map((roles) => new Map(Object.entries(roles))),
  bound: fc.array(fc.tuple(fc.constantFrom(...SUBJECTS), fc.array(grant, { maxLength: 2 })), { maxLength: 6 }).map((entries) => new Map(entries)),
  tokens: fc.option(grant, { nil: undefined }).map((own) => new Map(own ? [["ci", own]] : [])),
});
const caller = fc.record({
  subject: fc.constantFrom("user/alice", "user/bob", "user/eve", "token/ci", "token/old"),
  groups: fc.subarray(["ops", "dev", "alice"]),
});
const question = fc.record({
  verb: fc.constantFrom(...VERBS), kind: fc.constantFrom(...KINDS), namespace: fc.constantFrom("", ...NAMESPACES), name: fc.constantFrom("", ...NAMES),
});

/** Every (verb, kind, namespace, name) that the caller has, as text; "" is "every" for namespaces and names. */
function everyRight({ roles, bound, tokens }: Policy, { subject, groups }: { subject: string; groups: readonly string[] }): Set<string> {
  const rights = new Set<string>();
  const isToken = subject.startsWith("token/");
  if (isToken && !tokens.has(subject.slice(6))) return rights;
  const grants: Grant[] = isToken ? [tokens.get(subject.slice(6))!] : [];
  for (const [key, given] of bound) if (key === subject || (key.startsWith("group/") && groups.includes(key.slice(6)))) grants.push(...given);
  for (const { role, namespaces } of grants) {
    for (const { verbs, kinds, names } of roles.get(role) ?? []) {
      for (const verb of verbs.includes("*") ? VERBS : verbs) for (const kind of kinds.includes("*") ? KINDS : kinds) {
        for (const namespace of namespaces.length === 0 ? ["", ...NAMESPACES] : namespaces) {
          for (const name of names.length === 0 ? ["", ...NAMES] : names) rights.add([verb, kind, namespace, name].join("|"));
        }
      }
    }
  }
  return rights;
}

describe("policy", () => {
  it("T1: allows exactly what some rule of some grant gives", () => {
    fc.assert(fc.property(policy, caller, question, (rules, who, asked) => {
      const expected = everyRight(rules, who).has([asked.verb, asked.kind, asked.namespace, asked.name].join("|"));
      assert.equal(allows(rules, who, asked) !== undefined, expected);
    }), { numRuns: 20_000 });
  });

  it("T1: shows collections exactly where everything in them may be seen", () => {
    fc.assert(fc.property(policy, caller, question, (rules, who, { verb, kind }) => {
      const rights = everyRight(rules, who);
      const scopes = scopesOf(rules, who, { verb, kind });
      if (scopes === "all") assert.ok(rights.has([verb, kind, "", ""].join("|")));
      else assert.deepEqual([[...scopes], rights.has([verb, kind, "", ""].join("|"))], [NAMESPACES.filter((one) => rights.has([verb, kind, one, ""].join("|"))), false]);
    }), { numRuns: 5_000 });
  });

  it("lets nobody give what they have not: after any gift that is allowed the receiver has nothing that the giver lacks", () => {
    fc.assert(fc.property(policy, caller, fc.array(rule, { minLength: 1, maxLength: 2 }), some(NAMESPACES, { minLength: 0, wild: false }), (rules, giver, given, namespaces) => {
      if (lacks(rules, giver, { rules: given, namespaces })) return;
      const after: Policy = { roles: new Map([...rules.roles, ["new", given]]), bound: new Map([["user/receiver", [{ role: "new", namespaces }]]]), tokens: new Map() };
      const has = everyRight(rules, giver);
      for (const right of everyRight(after, { subject: "user/receiver", groups: [] })) assert.ok(has.has(right), right);
    }), { numRuns: 20_000 });
  });

  it("does not take every verb of today for every verb", () => {
    const all: Rule = { verbs: [...VERBS_OF_KINDS.get("Node")!], kinds: ["Node"], names: [] };
    const rules: Policy = { roles: new Map([["r", [all]]]), bound: new Map([["user/a", [{ role: "r", namespaces: [] }]]]), tokens: new Map() };
    assert.deepEqual(lacks(rules, { subject: "user/a" }, { rules: [{ ...all, verbs: ["*"] }], namespaces: [] })?.verb, "*");
  });

  describe("built-in roles", () => {
    const rules: Policy = { roles: BUILT_IN_ROLES, bound: new Map([...BUILT_IN_ROLES.keys()].map((role) => [`user/${role}`, [{ role, namespaces: [] }]])), tokens: new Map() };
    const verbsOf = (role: string, kind: string) =>
      [...VERBS_OF_KINDS.get(kind)!].filter((verb) => allows(rules, { subject: `user/${role}` }, { verb, kind, namespace: "", name: "" })).sort();
    const reads = ["get", "list", "watch"];

    it("admin may do everything", () => {
      for (const [kind, verbs] of VERBS_OF_KINDS) assert.deepEqual(verbsOf("admin", kind), [...verbs].sort());
    });

    it("operator runs machines, and touches neither identities nor rights nor fences", () => {
      assert.deepEqual(verbsOf("operator", "Node"), ["cordon", "drain", "get", "list", "uncordon", "watch"]);
      for (const kind of ["VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceMigration", "Volume", "Event"]) {
        assert.deepEqual(verbsOf("operator", kind), [...VERBS_OF_KINDS.get(kind)!].sort());
      }
      for (const kind of ["Role", "RoleBinding", "ServiceToken", "UserCertificate", "AuditEntry"]) assert.deepEqual(verbsOf("operator", kind), []);
      assert.deepEqual(verbsOf("operator", "Namespace"), reads);
    });

    it("viewer reads, without consoles", () => {
      for (const [kind, verbs] of VERBS_OF_KINDS) {
        const seen = verbsOf("viewer", kind);
        assert.deepEqual(seen.filter((verb) => !reads.includes(verb)), kind === "VirtualMachine" ? ["check-migration", "explain"] : [], kind);
        if (["Role", "RoleBinding", "ServiceToken", "UserCertificate", "AuditEntry"].includes(kind)) assert.deepEqual(seen, []);
        else assert.deepEqual(seen.filter((verb) => reads.includes(verb)), reads.filter((verb) => verbs.has(verb)), kind);
      }
    });
  });
});
