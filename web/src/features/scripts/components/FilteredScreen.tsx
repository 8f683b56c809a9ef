export default function FilteredScreen(_: Record<string, unknown>) { return null; }
