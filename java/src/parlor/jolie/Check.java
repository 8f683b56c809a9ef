package parlor.jolie;

import java.util.List;
import java.util.Optional;
import jolie.lang.CodeCheckException;
import jolie.lang.CodeCheckMessage;
import jolie.lang.parse.SemanticVerifier;
import jolie.lang.parse.context.ParsingContext;
import jolie.lang.parse.module.Modules;

/** Whether a source compiles, and where not. */
final class Check {
  private Check() {}

  static Answer of(Library library, String source) {
    java.net.URI name = library.script().toURI();
    Modules.freeCache(name);
    try {
      Modules.ModuleParsedResult parsed = Modules.parseModule(library.parsing(), Library.stream(source), name);
      SemanticVerifier.Configuration how = new SemanticVerifier.Configuration(null);
      new SemanticVerifier(parsed.mainProgram(), parsed.symbolTables(), how).validate();
      return Answer.fine();
    } catch (CodeCheckException refused) {
      return refused(refused.messages(), name);
    } catch (Exception | StackOverflowError broken) {
      return Answer.refused(0, 0, String.valueOf(broken.getMessage()));
    }
  }

  private static Answer refused(List<CodeCheckMessage> messages, java.net.URI name) {
    for (CodeCheckMessage message : messages) {
      Optional<ParsingContext> place = message.context();
      String words = message.description().orElse("does not compile");
      if (message.help().isPresent()) {
        words = words + "\n" + message.help().get();
      }
      int line = place.map(ParsingContext::startLine).orElse(0);
      int column = place.map(ParsingContext::startColumn).orElse(0);
      return Answer.refused(line, column, words);
    }
    return Answer.refused(0, 0, "does not compile");
  }
}
