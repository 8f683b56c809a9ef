// Math.

type RoundRequestType: double {
  .decimals?: int
}

type PowRequest: void {
  .base: double
  .exponent: double
}

interface MathInterface {
RequestResponse:
  abs( int )( int ),
  pow( PowRequest )( double ),
  random( void )( double ),
  round( RoundRequestType )( double )
}

outputPort Math {
  Interfaces: MathInterface
}

embedded {
  Java: "parlor.jolie.services.Math" in Math
}
