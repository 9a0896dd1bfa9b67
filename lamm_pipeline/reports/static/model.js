// What is shown and what people have said of it; knows nothing of the page.

const NOTHING = {
  reviewed: false, action: null, left_out: false, class_id: null, is_positive: null, false_positive_types: null, box_xyxy: null,
  corrected_mask: false, note: "", by: null, at: null,
};

export class Model {
  constructor(data) {
    Object.assign(this, data);
    this.frameIds = data.frames.index.map((index) => `${data.recording}:${String(index).padStart(6, "0")}`);
    this.frameOf = new Map(this.frameIds.map((id, place) => [id, place]));
    this.annotationIds = data.annotations.frame.map((frame, place) => `${this.frameIds[frame]}:${data.annotations.number[place]}`);
    this.annotationOf = new Map(this.annotationIds.map((id, place) => [id, place]));
    this.sequenceOf = new Map(data.sequences.map((each, place) => [each.id, place]));
    this.inFrame = data.frames.index.map(() => []);
    data.annotations.frame.forEach((frame, place) => this.inFrame[frame].push(place));
    this.sequencesOf = this.annotationIds.map(() => []);
    data.sequences.forEach((each, number) => each.annotations.forEach((place) => this.sequencesOf[place].push(number)));
    this.unlabelled = new Set(data.frames.unlabelled);
    this.classOf = new Map(data.classes.map((each) => [each.id, each]));
    this.takeState({ verdicts: {}, outcomes: [], lost: [], watermark: 0 });
  }

  takeState(state) {
    this.verdicts = { frame: new Map(), annotation: new Map(), sequence: new Map(), class: new Map() };
    this.outcomes = this.annotations.class_id.map((class_id) => ({ reviewed: false, class_id, excluded_by: null }));
    this.takeChanges(state);
  }

  takeChanges(changes) {
    for (const [kind, subjects] of Object.entries(changes.verdicts)) {
      for (const [subject, verdict] of Object.entries(subjects)) this.verdicts[kind].set(subject, verdict);
    }
    for (const { place, ...outcome } of changes.outcomes) this.outcomes[place] = outcome;
    this.lost = changes.lost;
    this.watermark = changes.watermark;
  }

  verdict(kind, id) {
    return this.verdicts[kind].get(id) || NOTHING;
  }

  /** Show at once what a decision will do; what the server answers takes its place. */
  foresee({ kind, subject, action, value, note }) {
    const verdict = { ...this.verdict(kind, subject) };
    if (action === "unreview") Object.assign(verdict, NOTHING, { note: verdict.note });
    else if (action === "note") verdict.note = note;
    else {
      verdict.reviewed = true;
      if (action === "set_class") verdict.class_id = value.class_id;
      else if (action === "set_positive") Object.assign(verdict, { is_positive: value.is_positive, left_out: !value.is_positive });
      else if (action === "set_false_positive_types") verdict.false_positive_types = value.types;
      else Object.assign(verdict, { action, left_out: action === "exclude" });
    }
    this.verdicts[kind].set(subject, verdict);
    for (const place of this.annotationsOf(kind, subject)) {
      const own = kind === "annotation" ? NOTHING : this.verdict("annotation", this.annotationIds[place]);
      if (own.action || own.is_positive !== null) continue;
      const outcome = { ...this.outcomes[place], reviewed: verdict.reviewed };
      outcome.excluded_by = verdict.left_out || action === "reviewed_empty" ? kind : null;
      if (action === "set_class") outcome.class_id = value.class_id;
      this.outcomes[place] = outcome;
    }
  }

  annotationsOf(kind, subject) {
    if (kind === "annotation") return this.annotationOf.has(subject) ? [this.annotationOf.get(subject)] : [];
    if (kind === "sequence") return this.sequences[this.sequenceOf.get(subject)]?.annotations || [];
    if (kind === "frame") return this.inFrame[this.frameOf.get(subject)] || [];
    return [];
  }

  places(kind) {
    return { sequence: this.sequences, annotation: this.annotationIds, frame: this.frameIds }[kind].map((_, place) => place);
  }

  id(kind, place) {
    return { sequence: () => this.sequences[place].id, annotation: () => this.annotationIds[place], frame: () => this.frameIds[place] }[kind]();
  }

  place(kind, id) {
    return { sequence: this.sequenceOf, annotation: this.annotationOf, frame: this.frameOf }[kind].get(id);
  }

  /** `open`, `stays` or `out`. */
  state(kind, place) {
    if (kind === "annotation") {
      const found = this.outcomes[place];
      return found.excluded_by ? "out" : found.reviewed ? "stays" : "open";
    }
    const verdict = this.verdict(kind, this.id(kind, place));
    if (verdict.left_out) return "out";
    if (verdict.reviewed) return "stays";
    const inside = kind === "frame" ? this.inFrame[place] : [];
    return inside.length && inside.every((each) => this.state("annotation", each) !== "open") ? "stays" : "open";
  }

  classId(kind, place) {
    if (kind === "annotation") return this.outcomes[place].class_id;
    if (kind === "sequence") return this.verdict(kind, this.id(kind, place)).class_id ?? this.sequences[place].class_id;
    return null;
  }

  color(classId) {
    return this.classOf.get(classId)?.color || "#9ca3af";
  }

  className(classId) {
    return this.classOf.get(classId)?.name || classId || "unknown";
  }

  confidence(kind, place) {
    if (kind === "annotation") return this.annotations.confidence[place];
    if (kind === "sequence") return this.sequences[place].confidence;
    const scores = this.inFrame[place].map((each) => this.annotations.confidence[each]).filter((each) => each !== null);
    return scores.length ? Math.min(...scores) : null;
  }

  /** The frames in which an item can be seen. */
  framesOf(kind, place) {
    if (kind === "annotation") return [this.annotations.frame[place]];
    return kind === "sequence" ? this.sequences[place].frames : [place];
  }

  /** Box of an item in a frame, None where it is not in it. */
  box(kind, place, frame) {
    if (kind === "annotation") {
      if (this.annotations.frame[place] !== frame) return null;
      return this.verdict(kind, this.annotationIds[place]).box_xyxy || this.annotations.box_xyxy[place];
    }
    if (kind === "sequence") return this.sequences[place].box_xyxy[this.sequences[place].frames.indexOf(frame)] || null;
    return null;
  }

  progress(kind) {
    const places = this.places(kind);
    return { done: places.filter((place) => this.state(kind, place) !== "open").length, total: places.length };
  }

  /** Places of the items that pass the filters, in order. */
  chosen(kind, { state, classId, from, to, order }) {
    const passes = (place) => {
      if (state !== "all" && this.state(kind, place) !== state) return false;
      if (kind === "frame") {
        if (classId === "-none-") return this.inFrame[place].length === 0;
        return !classId || this.inFrame[place].some((each) => this.outcomes[each].class_id === classId);
      }
      if (classId && this.classId(kind, place) !== classId) return false;
      const score = this.confidence(kind, place);
      return score === null ? from === 0 : score >= from && score <= to;
    };
    const found = this.places(kind).filter(passes);
    if (order === "score") {
      const score = new Map(found.map((place) => [place, this.confidence(kind, place) ?? 2]));
      found.sort((a, b) => score.get(a) - score.get(b) || a - b);
    }
    return found;
  }
}
