package parlor.jolie;

/** Runs of a script of our own, so that the first of an owner finds all classes loaded and much of them compiled. */
final class WarmUp {
  private static final int RUNS = 3;
  private static final String SOURCE =
      String.join(
          "\n",
          "include \"console.iol\"",
          "include \"json_utils.iol\"",
          "include \"string_utils.iol\"",
          "main {",
          "  getJsonValue@JsonUtils( args[0] )( message )",
          "  toLowerCase@StringUtils( message.messageBody )( lower )",
          "  if ( lower == \"stop\" ) { result.action = \"DROP\" } else { result.action = \"FORWARD\" }",
          "  result.reply[0].to = message.senderID",
          "  result.reply[0].message = \"warm \" + #message.recipientIDs",
          "  getJsonString@JsonUtils( result )( json )",
          "  println@Console( json )()",
          "}");
  private static final String ARGUMENT =
      "{\"messageBody\": \"Hello\", \"ownID\": 1, \"senderID\": 2, \"recipientIDs\": [1, 3]}";

  private WarmUp() {}

  static void run(Library library) {
    Check.of(library, SOURCE);
    for (int run = 0; run < RUNS; run++) {
      new Run(library, SOURCE, ARGUMENT, 0, 0, 1024).make();
    }
  }
}
