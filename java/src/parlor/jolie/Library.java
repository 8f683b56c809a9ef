package parlor.jolie;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Optional;
import java.util.logging.Level;
import jolie.Interpreter;
import jolie.JolieClassLoader;
import jolie.lang.parse.module.ModuleParsingConfiguration;
import jolie.runtime.correlation.CorrelationEngine;

/** What a script may include and import, and how its interpreter is set up. */
final class Library {
  /** The name under which a script is compiled. There is no such file. */
  private static final String NAME = "script.ol";

  private final String[] includes;
  private final String[] packages;
  private final JolieClassLoader loader;
  private final File folder;

  /** The library in a folder with {@code include} and {@code packages}. */
  Library(String home) throws IOException {
    folder = new File(home);
    includes = new String[] {new File(folder, "include").getPath()};
    packages = new String[] {new File(folder, "packages").getPath()};
    // A jar with nothing but a manifest, which names the loader behind `embedded { Java: … }`. Classes must not be in
    // it: this loader would load them a second time.
    URL extension = new URL("jar:" + new File(folder, "extension.jar").toURI() + "!/");
    loader = new JolieClassLoader(new URL[] {extension}, Host.class.getClassLoader());
  }

  File script() {
    return new File(folder, NAME);
  }

  /** For a run. */
  Interpreter.Configuration configuration(String source, String argument) {
    return Interpreter.Configuration.create(
        -1,
        0,
        CorrelationEngine.Type.SIMPLE,
        includes,
        new String[0],
        new URL[0],
        stream(source),
        StandardCharsets.UTF_8.name(),
        script(),
        new String[] {argument},
        new HashMap<>(),
        loader,
        false,
        false,
        false,
        "console",
        "all",
        false,
        false,
        36_000_000L,
        Level.INFO,
        folder,
        packages,
        null,
        Optional.empty());
  }

  /** For a check. */
  ModuleParsingConfiguration parsing() {
    return new ModuleParsingConfiguration(
        StandardCharsets.UTF_8.name(), includes, packages, loader, new HashMap<>(), false, false);
  }

  static ByteArrayInputStream stream(String source) {
    return new ByteArrayInputStream(source.getBytes(StandardCharsets.UTF_8));
  }
}
