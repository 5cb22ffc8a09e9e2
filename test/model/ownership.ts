/**
 * Who owns one machine when nodes hold it by a grant that runs out: two hosts, a store, clocks that drift apart, hosts
 * that hang and wake, messages that are lost, late or repeated, a store that restarts or is restored from a backup. No
 * order of these may let two hosts run the machine. The rules are arguments, so that each can be taken away.
 */
import type { Model, Step } from "./explore.ts";

/** In ticks. They meet W + the two drifts <= M + G with nothing to spare, so that a tick less shows. */
const TTL = 4;
const MARGIN = 1;
const WATCHDOG = 1;
const GRACE = 2;
const EPOCHS = 3;
/** Above every epoch of before a restore, as a new incarnation leads every epoch of it. */
const RESTORED_EPOCH = EPOCHS + 1;
const NOBODY = 2;

export type Rules = {
  horizon: number;
  /** Messages that may be on their way at once. */
  inFlight: number;
  /** By how much each clock may be off. */
  drift: number;
  /** A host may stand still, and wake. */
  hangs: boolean;
  grace: number;
  deadlineFrom: "request" | "reply";
  watchdog: boolean;
  /** A host starts the machine only when the store has taken its claim. */
  claims: boolean;
  /** What a store that restarts knows of grants: that all were renewed just now, or nothing. */
  restart: "none" | "holds" | "forgets";
  /** Whom a store believes that is restored from an old backup. */
  restore: "none" | "backup" | "whoever-renews" | "new-sessions";
};

export const RULES: Rules = {
  horizon: 9, inFlight: 2, drift: 1, hangs: true, grace: GRACE, deadlineFrom: "request", watchdog: true, claims: true, restart: "holds", restore: "none",
};

type Host = { lag: number; hung: boolean; deadline: number; runs: number; session: number };

type State = {
  now: number;
  /** The store's clock is ahead of the true time by so much. */
  ahead: number;
  owner: number;
  epoch: number;
  /** The owner's grant, by the store's clock; nobody else's matters. */
  expires: number;
  restarted: boolean;
  /** When the store was restored, by its clock; -1 when it never was. */
  restored: number;
  hosts: [Host, Host];
  network: readonly number[];
};

const KINDS = ["renew", "renewed", "claim", "claimed"] as const;
type Message = { kind: (typeof KINDS)[number]; host: number; sent: number; epoch: number; session: number };

const pack = ({ kind, host, sent, epoch, session }: Message): number =>
  KINDS.indexOf(kind) | (host << 3) | (sent << 4) | (epoch << 8) | (session << 11);
const unpack = (bits: number): Message =>
  ({ kind: KINDS[bits & 7]!, host: (bits >> 3) & 1, sent: (bits >> 4) & 15, epoch: (bits >> 8) & 7, session: (bits >> 11) & 1 });

const host = (): Host => ({ lag: 0, hung: false, deadline: 0, runs: 0, session: 0 });
const START: State = {
  now: 0, ahead: 0, owner: 0, epoch: 1, expires: TTL, restarted: false, restored: -1, hosts: [host(), host()], network: [],
};

const clockOf = (state: State, { lag }: Host): number => state.now - lag;
const storeClock = ({ now, ahead }: State): number => now + ahead;
const incarnation = ({ restored }: State): number => (restored >= 0 ? 1 : 0);

function withHost(state: State, index: number, change: Partial<Host>): State {
  const hosts: [Host, Host] = [...state.hosts];
  hosts[index] = { ...hosts[index]!, ...change };
  return { ...state, hosts };
}

function send(state: State, message: Message, { inFlight }: Rules): State | undefined {
  const packed = pack(message);
  if (state.network.includes(packed) || state.network.length >= inFlight) return undefined;
  return { ...state, network: [...state.network, packed].toSorted((a, b) => a - b) };
}

/** Past its deadline a host that wakes does nothing before it has stopped the machine. */
const isDue = (state: State, each: Host): boolean => each.runs > 0 && clockOf(state, each) >= each.deadline;

/** The fence process kicks the watchdog only until the deadline, so a host that hangs is reset soon after it. */
const isReset = (state: State, each: Host, { watchdog }: Rules): boolean => watchdog && each.hung && clockOf(state, each) >= each.deadline + WATCHDOG;

function ends(state: State, rules: Rules): Step<State>[] {
  return state.hosts.flatMap((each, index) => {
    if (!isDue(state, each)) return [];
    if (!each.hung) return [{ name: `host ${index} stops at its deadline`, to: withHost(state, index, { runs: 0, deadline: 0 }) }];
    return isReset(state, each, rules) ? [{ name: `the watchdog resets host ${index}`, to: withHost(state, index, { ...host(), lag: each.lag, session: each.session }) }] : [];
  });
}

/** What comes later than the deadline that it would give has no effect, but on a restored store that believes anybody. */
function matters({ kind, host: index, sent }: Message, state: State, { restore, deadlineFrom }: Rules): boolean {
  const isUseful = clockOf(state, state.hosts[index]!) < sent + TTL - MARGIN;
  return isUseful || deadlineFrom === "reply" || (kind === "renew" && restore === "whoever-renews");
}

/** A tick, with every clock that may be off keeping its rate or losing one. */
function ticks(state: State, rules: Rules): Step<State>[] {
  if (state.now >= rules.horizon) return [];
  const later = { ...state, now: state.now + 1, network: state.network.filter((packed) => matters(unpack(packed), state, rules)) };
  const drifts: Step<State>[] = [{ name: "a tick", to: later }];
  if (state.ahead < rules.drift) drifts.push({ name: "a tick, and the store's clock gains", to: { ...later, ahead: state.ahead + 1 } });
  for (const [index, { lag }] of state.hosts.entries()) {
    if (lag < rules.drift) drifts.push({ name: `a tick, and the clock of host ${index} loses`, to: withHost(later, index, { lag: lag + 1 }) });
  }
  return drifts;
}

function hostSteps(state: State, rules: Rules): Step<State>[] {
  return state.hosts.flatMap((each, index): Step<State>[] => {
    if (each.hung) return [{ name: `host ${index} wakes`, to: withHost(state, index, { hung: false }) }];
    const epoch = rules.restore === "none" ? 0 : each.runs;
    const asks = each.runs > 0 || !rules.claims;
    const renewing = asks && send(state, { kind: "renew", host: index, sent: clockOf(state, each), epoch, session: each.session }, rules);
    const found: Step<State>[] = [];
    if (renewing) found.push({ name: `host ${index} asks to renew`, to: renewing });
    if (rules.hangs && each.runs > 0) found.push({ name: `host ${index} hangs`, to: withHost(state, index, { hung: true }) });
    if (each.session !== incarnation(state)) found.push({ name: `host ${index} opens a new session`, to: withHost(state, index, { session: incarnation(state) }) });
    return found;
  });
}

function storeSteps(state: State, rules: Rules): Step<State>[] {
  const { owner, epoch, expires, restored } = state;
  const clock = storeClock(state);
  const found: Step<State>[] = [];
  if (owner === NOBODY && clock >= restored + TTL + rules.grace) {
    for (const next of [0, 1]) found.push({ name: `nobody renewed: host ${next} is made the owner`, to: { ...state, owner: next, epoch: RESTORED_EPOCH, expires: clock } });
  }
  if (owner !== NOBODY && epoch < EPOCHS && clock >= expires + rules.grace) {
    found.push({ name: `the grant is over: host ${1 - owner} is made the owner`, to: { ...state, owner: 1 - owner, epoch: epoch + 1, expires: clock } });
  }
  return [...found, ...storeFaults(state, rules)];
}

function storeFaults(state: State, { restart, restore }: Rules): Step<State>[] {
  const clock = storeClock(state);
  const held = clock + TTL;
  const found: Step<State>[] = [];
  if (restart !== "none" && !state.restarted) {
    found.push({ name: "the store restarts", to: { ...state, restarted: true, expires: restart === "holds" ? held : 0 } });
  }
  if (restore !== "none" && state.restored < 0) {
    const owner = restore === "backup" ? START.owner : NOBODY;
    found.push({ name: "an old backup is restored", to: { ...state, restored: clock, owner, epoch: START.epoch, expires: held } });
  }
  return found;
}

/** An order may come late and again, so every one that was ever given may come at any time. It is a reason to ask, and no more. */
function orders(state: State, rules: Rules): Step<State>[] {
  const given = rules.claims ? [{ host: state.owner, epoch: state.epoch }] : Array.from({ length: state.epoch }, (_, before) => ({ host: before % 2, epoch: before + 1 }));
  return given.flatMap(({ host: index, epoch }) => {
    const each = state.hosts[index];
    if (!each || each.hung || each.runs > 0) return [];
    const clock = clockOf(state, each);
    const name = `host ${index} is told to start epoch ${epoch}`;
    if (!rules.claims) return clock < each.deadline ? [{ name, to: withHost(state, index, { runs: epoch }) }] : [];
    const asks = send(state, { kind: "claim", host: index, sent: clock, epoch, session: each.session }, rules);
    return asks ? [{ name: `${name}, and claims it`, to: asks }] : [];
  });
}

/** Of what is on its way, each may arrive and be gone, arrive and come again, or be lost. */
function deliveries(state: State, rules: Rules): Step<State>[] {
  return state.network.flatMap((packed) => {
    const message = unpack(packed);
    const without = { ...state, network: state.network.filter((other) => other !== packed) };
    const name = `${message.kind} of host ${message.host}, sent at ${message.sent}, epoch ${message.epoch}`;
    const arrived = receive(without, message, rules);
    const again = receive(state, message, rules);
    return [
      { name: `lost: ${name}`, to: without },
      ...(arrived ? [{ name: `arrives: ${name}`, to: arrived }] : []),
      ...(again ? [{ name: `arrives, and may again: ${name}`, to: again }] : []),
    ];
  });
}

function receive(state: State, message: Message, rules: Rules): State | undefined {
  if (message.kind === "renew") return renew(state, message, rules);
  if (message.kind === "claim") return claim(state, message, rules);
  const each = state.hosts[message.host]!;
  if (each.hung) return undefined;
  const clock = clockOf(state, each);
  const until = (rules.deadlineFrom === "request" ? message.sent : clock) + TTL - MARGIN;
  if (until <= clock) return undefined;
  const starts = message.kind === "claimed" && each.runs === 0;
  const keeps = each.runs > 0 || starts || !rules.claims;
  return withHost(state, message.host, { ...(keeps && { deadline: Math.max(each.deadline, until) }), ...(starts && { runs: message.epoch }) });
}

const renewal = (state: State, index: number): number => (state.owner === index ? storeClock(state) + TTL : state.expires);

/** A restored store that knows no owner takes over whoever says that it runs the machine, if it may believe it. */
function renew(state: State, message: Message, rules: Rules): State | undefined {
  if (rules.restore === "new-sessions" && message.session !== incarnation(state)) return undefined;
  const adopted = state.owner === NOBODY && message.epoch > 0 ? { owner: message.host, epoch: message.epoch } : {};
  const told = { ...state, ...adopted };
  return send({ ...told, expires: renewal(told, message.host) }, { ...message, kind: "renewed", epoch: 0 }, rules);
}

function claim(state: State, message: Message, rules: Rules): State | undefined {
  if (rules.restore === "new-sessions" && message.session !== incarnation(state)) return undefined;
  if (state.owner !== message.host || state.epoch !== message.epoch) return undefined;
  return send({ ...state, expires: renewal(state, message.host) }, { ...message, kind: "claimed" }, rules);
}

function keyOf(state: State): string {
  const hosts = state.hosts.flatMap(({ lag, hung, deadline, runs, session }) => [lag * 4 + (hung ? 2 : 0) + session, deadline, runs]);
  const store = [state.now, state.ahead, state.owner, state.epoch, state.expires, state.restarted ? 1 : 0, state.restored + 1];
  return String.fromCharCode(...store, ...hosts, ...state.network);
}

export function ownership(changed: Partial<Rules> = {}): Model<State> {
  const rules = { ...RULES, ...changed };
  return {
    start: START,
    steps(state) {
      const due = ends(state, rules);
      return due.length > 0 ? due : [...ticks(state, rules), ...hostSteps(state, rules), ...storeSteps(state, rules), ...orders(state, rules), ...deliveries(state, rules)];
    },
    key: keyOf,
    fault: ({ hosts }) => (hosts.every(({ runs }) => runs > 0) ? `it runs on both hosts, under the epochs ${hosts.map(({ runs }) => runs).join(" and ")}` : undefined),
  };
}
